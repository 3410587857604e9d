"""Sanity checks of attributions: they should change with the network's weights, and be stable under small noise.

Adebayo et al. 2018: the network's weights are randomised cascadingly, layer by layer from the output down; a method
whose scores keep their order does not explain the network. Conversely, noise of a hundredth of the features' spread
should leave the order as it is.
"""

import copy
import hashlib
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from merc.data.batches.dataset import Split
from merc.explanation.checks import agreement
from merc.explanation.counterfactual import Probe
from merc.explanation.explainer import PART_METHODS, Sources, case_of, coalitions_of
from merc.explanation.methods import shap_values, shapley
from merc.explanation.methods.part_attribution import Case, integrated_gradients, occlusion

LAYERS = {  # from the output down; each randomisation keeps those before it
    # ESAG's belief is added to the emotion logits: its read-out is a head too
    "heads": ("heads", "fusion.evidence", "fusion.base", "fusion.transition"),
    "context": ("role", "context"),
    "fusion": ("fusion",),
    "stems": ("misls", "stems"),
}
NOISE = "noise"
NOISE_SCALE = 0.01  # standard deviation of the noise, relative to each feature's over the training split
MIN_UTTERANCES = 24  # utterances at least: checking one costs as much as explaining six


def sanity_checks(network: Any, sources: Sources, seed: int, dialogue: int) -> pd.DataFrame:
    """Rank correlations of a dialogue's scores with those under each change: columns method, change, rank."""
    batch = sources.split.batch([dialogue])
    probe = Probe(network, batch)
    emotion = probe.logits(probe.rows).argmax(1)
    original = _scores(probe, sources, emotion, seed)
    generator = torch.Generator().manual_seed(_draw_seed(seed, sources.split, dialogue))
    tables, randomised = [], copy.deepcopy(network)
    for layer, names in LAYERS.items():
        for name in names:
            redraw_weights(_submodule(randomised, name), generator)
        scores = _scores(Probe(randomised, batch), sources, emotion, seed)
        tables.append(_compare(original, scores, layer))
    scores = _scores(Probe(network, with_noise(network, batch, generator)), sources, emotion, seed)
    return pd.concat([*tables, _compare(original, scores, NOISE)], ignore_index=True)


def redraw_weights(part: nn.Module | nn.Parameter | None, generator: torch.Generator) -> None:
    """Redraw every weight from a normal distribution with the mean and standard deviation of its tensor."""
    weights = [part] if isinstance(part, nn.Parameter) else [] if part is None else part.parameters()
    for weight in weights:
        noise = torch.randn(weight.shape, generator=generator).to(weight.device)
        weight.data = weight.mean() + weight.std(correction=0) * noise


def with_noise(network: Any, batch: dict, generator: torch.Generator) -> dict:
    """The batch with normal noise added to every feature."""
    values = {}
    for stream, features in batch["values"].items():
        noise = torch.randn(features.shape, generator=generator).to(features.device)
        values[stream] = features + NOISE_SCALE * network.spread(stream) * noise
    return {**batch, "values": values}


def part_scores(case: Case, seed: int) -> dict[str, np.ndarray]:
    """Scores of the case's parts by PART_METHODS; integrated gradients on a fixed grid, enough for their order."""
    scores = (integrated_gradients(case, rounds=1).of_parts(case.parts), occlusion(case))
    return dict(
        zip(PART_METHODS, (*scores, shap_values.part_shap_values(case, seed).values[case.probe.task]), strict=True)
    )


def _submodule(network: Any, name: str) -> Any:
    """The module or parameter of a dotted name; None if the network has none."""
    for attribute in name.split("."):
        network = getattr(network, attribute, None)
    return network


def _scores(probe: Probe, sources: Sources, emotion: Tensor, seed: int) -> dict[str, np.ndarray]:
    """By method: (N, M) of modalities, (N, P) of parts."""
    index = probe.batch["index"].cpu().numpy()
    log_odds, _, present = coalitions_of(probe, emotion)
    absent = np.where(present, 0.0, np.nan)
    outputs = probe.outputs(probe.rows)
    gates = outputs["gate"][probe.rows, emotion].cpu().double().numpy() + absent if "gate" in outputs else None
    texts = sources.split.manifest["text"].to_numpy()[index]
    parts = part_scores(case_of(probe, emotion, sources.units, index, texts), seed)
    return {"shapley": shapley.values(log_odds) + absent, **({} if gates is None else {"gates": gates}), **parts}


def _compare(original: dict[str, np.ndarray], changed: dict[str, np.ndarray], change: str) -> pd.DataFrame:
    tables = [
        pd.DataFrame(
            {"method": method, "change": change, "rank": agreement.rank_correlation(scores, changed[method])}
        )
        for method, scores in original.items()
    ]
    return pd.concat(tables, ignore_index=True)


def _draw_seed(seed: int, split: Split, dialogue: int) -> int:
    """Seed of the random draws, derived from the dialogue's name."""
    name = split.manifest["group"].iloc[int(split.starts[dialogue])]
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:7], "big")
