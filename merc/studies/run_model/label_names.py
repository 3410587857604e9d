"""A model's label names in the label space: the same word, in any case, or as --map says."""

from collections.abc import Mapping, Sequence

import numpy as np

from merc.runtime.errors import UserError
from merc.studies.scoring.protocols import suggestion


def read_map(words: Sequence[str], classes: Sequence[str]) -> dict[str, str | None]:
    """Model's name -> class, or None for a name to leave aside (`love=`), of the words model=ours."""
    mapped: dict[str, str | None] = {}
    for word in words:
        name, sign, ours = word.partition("=")
        if not sign or (ours and ours not in classes):
            raise UserError(f"--map {word}: write model=ours, of {', '.join(classes)}{suggestion(ours, classes)}")
        mapped[name] = ours or None
    return mapped


class LabelNames:
    """Turns probabilities by the model's names into probabilities of the classes."""

    def __init__(self, classes: Sequence[str], mapped: Mapping[str, str | None]) -> None:
        self.classes, self.mapped = tuple(classes), mapped
        self.lowered = {name.lower(): name for name in classes}

    def class_of(self, name: str) -> str | None:
        """The class that the model's name means; None if it is left aside."""
        if name in self.mapped:
            return self.mapped[name]
        if name in self.classes:
            return name
        if name.lower() in self.lowered:
            return self.lowered[name.lower()]
        raise UserError(
            f"the model's label {name!r} is none of {', '.join(self.classes)}{suggestion(name, self.classes)}; "
            f"say what it means: --map '{name}=ours', or leave it aside: --map '{name}='"
        )

    def probabilities(self, by_name: Mapping[str, float], place: str) -> list[float]:
        """One number a class, which sum to 1; names that mean the same are added up."""
        total = dict.fromkeys(self.classes, 0.0)
        for name, probability in by_name.items():
            if (ours := self.class_of(name)) is not None:
                total[ours] += float(probability)
        return normalised(list(total.values()), place)


def normalised(values: Sequence[float], place: str) -> list[float]:
    """The numbers, made to sum to 1; refuses negative ones, and those that are no numbers or all 0."""
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all() or (array < 0).any() or not array.sum() > 0:
        raise UserError(f"{place}: {array.round(4).tolist()} are no probabilities")
    return (array / array.sum()).tolist()
