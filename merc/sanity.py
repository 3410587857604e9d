"""Does an explanation change when the network does, and stay when its input hardly does?

Adebayo et al. 2018: the network's weights are drawn anew, layer by layer from the answer down; a method whose
scores keep their order explains something else than the network. And the other way round: features with a
hundredth of their spread as noise should leave the order as it is.
"""

import copy
import hashlib
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from merc import concordance, shapley, shapvalues
from merc.attribution import Case, integrated_gradients, occlusion
from merc.batches import Split
from merc.explanation import PART_METHODS, Sources, case_of, coalitions_of
from merc.probe import Probe

LAYERS = {  # from the answer down; each draw keeps those before it
    # ESAG's belief is added to the emotion logits: what reads it off is a head too
    "heads": ("heads", "fusion.evidence", "fusion.base", "fusion.transition"),
    "context": ("role", "context"),
    "fusion": ("fusion",),
    "stems": ("misls", "stems"),
}
NOISE = "noise"
NOISE_SHARE = 0.01  # of each feature's spread over the training split
CHECKED = 24  # utterances, at least: each costs as much as six others


def checks(network: Any, sources: Sources, seed: int, dialogue: int) -> pd.DataFrame:
    """Rank correlations of a dialogue's scores with those under each change: columns method, change, rank."""
    batch = sources.split.batch([dialogue])
    asked = Probe(network, batch)
    emotion = asked.logits(asked.rows).argmax(1)
    before = _scores(asked, sources, emotion, seed)
    generator = torch.Generator().manual_seed(_number(seed, sources.split, dialogue))
    found, drawn = [], copy.deepcopy(network)
    for layer, names in LAYERS.items():
        for name in names:
            draw_anew(_part(drawn, name), generator)
        found.append(_compare(before, _scores(Probe(drawn, batch), sources, emotion, seed), layer))
    disturbed = Probe(network, noisy(network, batch, generator))
    return pd.concat(
        [*found, _compare(before, _scores(disturbed, sources, emotion, seed), NOISE)], ignore_index=True
    )


def draw_anew(part: nn.Module | nn.Parameter | None, generator: torch.Generator) -> None:
    """Every weight of the part from a normal distribution with the mean and spread that its tensor had."""
    weights = [part] if isinstance(part, nn.Parameter) else [] if part is None else part.parameters()
    for weight in weights:
        new = torch.randn(weight.shape, generator=generator).to(weight.device)
        weight.data = weight.mean() + weight.std(correction=0) * new


def _part(network: Any, name: str) -> Any:
    """What a dotted name stands for; None where this network has no such part."""
    for piece in name.split("."):
        network = getattr(network, piece, None)
    return network


def noisy(network: Any, batch: dict, generator: torch.Generator) -> dict:
    """The batch with a little noise on every feature."""
    values = {}
    for stream, own in batch["values"].items():
        noise = torch.randn(own.shape, generator=generator).to(own.device)
        values[stream] = own + NOISE_SHARE * network.spread(stream) * noise
    return {**batch, "values": values}


def _scores(asked: Probe, sources: Sources, emotion: Tensor, seed: int) -> dict[str, np.ndarray]:
    """By method: (N, M) of modalities, (N, P) of parts."""
    index = asked.batch["index"].cpu().numpy()
    worth, _, present = coalitions_of(asked, emotion)
    absent = np.where(present, 0.0, np.nan)
    told = asked.answer(asked.rows)
    gates = told["gate"][asked.rows, emotion].cpu().double().numpy() + absent if "gate" in told else None
    texts = sources.split.manifest["text"].to_numpy()[index]
    parts = part_scores(case_of(asked, emotion, sources.units, index, texts), seed)
    return {"shapley": shapley.values(worth) + absent, **({} if gates is None else {"gates": gates}), **parts}


def part_scores(case: Case, seed: int) -> dict[str, np.ndarray]:
    """PART_METHODS of the case's parts, integrated gradients on a fixed grid: their order needs no more."""
    scores = (integrated_gradients(case, rounds=1).of_parts(case.parts), occlusion(case))
    return dict(zip(PART_METHODS, (*scores, shapvalues.of_parts(case, seed).values["emotion"]), strict=True))


def _compare(before: dict[str, np.ndarray], after: dict[str, np.ndarray], change: str) -> pd.DataFrame:
    tables = [
        pd.DataFrame({"method": method, "change": change, "rank": concordance.rank_correlation(own, after[method])})
        for method, own in before.items()
    ]
    return pd.concat(tables, ignore_index=True)


def _number(seed: int, split: Split, dialogue: int) -> int:
    """Of the random draws: follows from the dialogue's name."""
    name = split.manifest["group"].iloc[int(split.starts[dialogue])]
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:7], "big")
