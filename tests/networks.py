"""Small networks and ragged batches for the contract tests of models/."""

import itertools

import pytest
import torch
from torch.nn import functional

from models.context import CONTEXTS
from models.network import FUSIONS, Network, NetworkConfig

MODALITIES = ("text", "audio", "vision")
LABELS = {
    "emotion": ("neutral", "joy", "surprise", "anger", "sadness", "disgust", "fear"),
    "sentiment": ("negative", "neutral", "positive"),
}
STREAMS = {"text/minilm": 12, "text/other": 5, "audio/prosody": 6, "vision/hog": 7}
DIALOGUES = (4, 1, 3)  # utterances each


def config(**changes) -> NetworkConfig:
    values = {
        "modalities": list(MODALITIES),
        "dim": 16,
        "fused": 20,
        "stem": {"text": "mlp", "audio": "conv1d", "vision": "linear"},
        "fusion": "esag",
        "context": "gru",
        "heads": "hierarchical",
        "causal": False,
        "dropout": 0.1,
        "roles": 3,
        "belief_weight": 0.3,
    }
    return NetworkConfig(**{**values, **changes})


def network(seed: int = 0, streams: dict = STREAMS, **changes) -> Network:
    torch.manual_seed(seed)
    made = Network(config(**changes), streams, LABELS)
    for stream, dim in made.streams.items():
        made.standardise(stream, torch.randn(dim), torch.rand(dim) + 0.5)
    return made.eval()


def batch(dialogues=DIALOGUES, seed: int = 1, extra: int = 0, streams: dict = STREAMS) -> dict:
    """Ragged, with absent modalities, one utterance (the second) with nothing, text from two encoders."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.tensor([(d, t) for d, length in enumerate(dialogues) for t in range(length)])
    count = len(place)
    present = torch.rand(count, 3, generator=generator) > 0.25
    present[:1], present[1:2] = True, False
    made = {"values": {}, "rows": {}, "steps": {}}
    for stream, dim in streams.items():
        rows = present[:, MODALITIES.index(stream.split("/")[0])].nonzero()[:, 0]
        if stream.startswith("text"):
            rows = rows[rows % 2 == (stream == "text/other")]
        steps = torch.randint(1, 21, (len(rows),), generator=generator)
        values = torch.randn(len(rows), 20, dim, generator=generator)
        values[torch.arange(20) >= steps[:, None]] = 0
        longest = int(steps.max()) if len(steps) else 1
        values = functional.pad(values[:, :longest], (0, 0, 0, extra))
        made["values"][stream], made["rows"][stream], made["steps"][stream] = values, rows, steps
    offsets = {stream: torch.randn(count, dim, generator=generator) for stream, dim in streams.items()}
    return made | {
        "speaker_offsets": offsets,
        "present": present,
        "place": place,
        "speaker": torch.randint(0, 5, (count,), generator=generator),
        "emotion": torch.randint(0, 7, (count,), generator=generator),
        "sentiment": torch.randint(0, 3, (count,), generator=generator),
        "index": torch.arange(count),
    }


def only(made: dict, dialogue: int) -> dict:
    """The same batch cut to one dialogue."""
    keep = made["place"][:, 0] == dialogue
    new_row = torch.cumsum(keep, 0) - 1
    cut = {name: made[name][keep] for name in ("present", "speaker", "emotion", "sentiment", "index")}
    cut |= {"place": torch.stack([torch.zeros_like(made["place"][keep][:, 1]), made["place"][keep][:, 1]], 1)}
    cut |= {"values": {}, "rows": {}, "steps": {}}
    cut["speaker_offsets"] = {stream: of_rows[keep] for stream, of_rows in made["speaker_offsets"].items()}
    for stream, rows in made["rows"].items():
        here = keep[rows]
        cut["rows"][stream] = new_row[rows[here]]
        for name in ("values", "steps"):
            cut[name][stream] = made[name][stream][here]
    return cut


COMBINATIONS = list(itertools.product(FUSIONS, CONTEXTS))
every_combination = pytest.mark.parametrize(("fusion", "context"), COMBINATIONS)
every_fusion = pytest.mark.parametrize("fusion", FUSIONS)
