"""What no training could use, told before any media are read; no output of extract depends on these parameters."""

import bisect
from collections.abc import Iterable
from typing import Any

import pandas as pd

from merc.data.records import labels, selection
from merc.data.records.labels import LabelSpace
from merc.data.records.listing import Listing
from merc.data.records.manifest import MODALITIES
from merc.media.extraction import extraction
from merc.runtime import params
from merc.runtime.errors import UserError

IMPORTED = "imported/"  # begins the name of features that others computed


def check_training(corpus: str, listing: Listing, known: Iterable[str]) -> None:
    """Refuse labels without a meaning, and a corpus that alone cannot be trained on; `known` are all corpora."""
    space = labels.label_space(params.read("data.labels", str))
    space.check_corpora(known)
    share = params.read("data.share", dict[str, float])
    corpora = params.read("data.corpora", list[str])
    if not listing.utterances or corpus not in corpora:
        return
    trained = [name for name in corpora if share.get(name, 0) > 0]
    rows, is_whole = extraction.label_rows(corpus, listing), trained == [corpus]
    _check_words(rows, space, listing)
    selection.check_labels(rows, space, params.read("train.select", str), is_whole=is_whole)
    if is_whole:
        _check_modalities(corpus, listing)


def _check_words(rows: pd.DataFrame, space: LabelSpace, listing: Listing) -> None:
    """Refuse a label that the space does not know; the row of a user's own table is named."""

    def fails(last: int) -> bool:
        try:
            space.labelled(rows.iloc[: last + 1])
        except UserError:
            return True
        return False

    if fails(len(rows)):
        first = bisect.bisect_left(range(len(rows)), True, key=fails)
        try:
            space.labelled(rows.iloc[[first]])
        except UserError as error:
            place = listing.utterances[first].place
            raise UserError(f"{place}: {error}" if place else str(error)) from None


def _check_modalities(corpus: str, listing: Listing) -> None:
    """Refuse a corpus that has nothing of what the network reads; a modality that others stand beside may lack."""
    utterances = listing.utterances
    has = {
        "text": any(utterance.text or utterance.asr for utterance in utterances),
        "audio": any(utterance.media or utterance.sound for utterance in utterances),
        "vision": any(utterance.media for utterance in utterances),
    }
    sections = {name: params.read(f"encode.{name}", dict[str, Any]) for name in MODALITIES}
    encoders = {name: section["by_corpus"].get(corpus, section["encoder"]) for name, section in sections.items()}
    usable = [
        name
        for name in MODALITIES
        if encoders[name] != "none" and (has[name] or encoders[name].startswith(IMPORTED))
    ]
    wanted = params.read("model.modalities", list[str])
    if not set(wanted) & set(usable):
        remedy = f"set model.modalities to [{', '.join(usable)}]" if usable else "bring texts or recordings"
        raise UserError(
            f"{corpus}: no utterance has {' or '.join(wanted)}, which model.modalities in params.yaml names; "
            f"{remedy}, or bring features (data/features/README.md)"
        )
