"""An exported model with random weights and the real offline encoders, and clips of a drawn dialogue."""

from pathlib import Path

import numpy as np
import torch
import typical

from merc.corpora.synthesis.clip import Utterance, synthesise
from merc.data.records.labels import MELD_EMOTIONS, MELD_SENTIMENTS
from merc.export import bundle
from merc.runtime import results
from merc.training.core import speaker_offsets
from merc.training.core.speaker_offsets import StreamSpeakers
from models import checkpoint
from models.network import Network, NetworkConfig

LABELS = {"emotion": MELD_EMOTIONS, "sentiment": MELD_SENTIMENTS}
STREAMS = {"text/minilm": 384, "audio/prosody": 109, "vision/hog": 320}
SETTINGS = {
    "text": {"max_tokens": 64, "clean": ["cp1252"], "before": 1, "after": 0, "speakers": True},
    "audio": {"frame_rate": 10.0, "layer": -1},
    "vision": {"picture": "face", "frame_rate": 5.0},
}
EXTRACTION = {
    "audio": {"min_seconds": 0.2, "max_seconds": 15.0, "vad": "none", "trim": False},
    "video": {"frame": "middle", "fps": 0.0, "side": 224},
    "faces": {"detector": "haar", "size": 64},
    "align": "none",
}
CALIBRATION = {
    "emotion": {"temperature": 1.5, "threshold": 0.15},
    "sentiment": {"temperature": 1.5, "threshold": 0.3},
}
SPEAKERS = ("Priya", "Viktor")


def speakers(dim: int) -> StreamSpeakers:
    """Speakers that differ as much as what they do."""
    return StreamSpeakers(np.zeros(dim, np.float32), np.ones(dim, np.float32))


def write_model(folder: Path, **changes) -> Path:
    """What `export` leaves, of a network that was never trained."""
    torch.manual_seed(1)
    about = {
        "modalities": ["text", "audio", "vision"],
        "dim": 16,
        "fused": 16,
        "stem": {"text": "mlp", "audio": "conv1d", "vision": "conv1d"},
        "fusion": "esag",
        "context": "gru",
        "heads": "independent",
        "causal": False,
        "dropout": 0.3,
        "roles": 4,
        "belief_weight": 0.3,
    }
    network = Network(NetworkConfig.model_validate(about | changes), STREAMS, LABELS).eval()
    with torch.no_grad():
        for parameter in network.heads.parameters():
            parameter.mul_(8.0)  # so that answers differ
    for stream in network.streams:  # as if it had seen data
        network.standardise(stream, torch.zeros(STREAMS[stream]), torch.full((STREAMS[stream],), 2.0))
    tables = {task: 0.1 * torch.randn(2 ** len(network.modalities), len(names)) for task, names in LABELS.items()}
    network.offsets.fill(
        {task: table * (torch.arange(len(table)) < len(table) - 1)[:, None] for task, table in tables.items()}
    )
    checkpoint.save(folder, network)
    results.write_json(folder / "labels.json", network.labels)
    results.write_json(folder / "calibration.json", CALIBRATION)
    results.write_json(folder / "extraction.json", EXTRACTION)
    typical.write(folder, network.streams)
    speaker_offsets.save(folder / speaker_offsets.FILE, {s: speakers(dim) for s, dim in network.streams.items()})
    names = {stream.split("/")[0]: stream.split("/")[1] for stream in network.streams}
    needed = {
        modality: {"encoder": name, "source": "", "licence": "", "settings": SETTINGS[modality]}
        | {"weights": None, "sha256": None, "onnx": ""}
        for modality, name in names.items()
    }
    results.write_json(folder / "encoders.json", needed)
    bundle.write_hashes(folder)
    return folder


def write_dialogue(folder: Path, count: int = 3) -> list[str]:
    """Clips dia0_utt<number>.mp4 of two speakers, and what is said in them."""
    folder.mkdir(parents=True, exist_ok=True)
    return [synthesise(_utterance(folder, number)).text for number in range(count)]


def _utterance(folder: Path, number: int) -> Utterance:
    shown = ("text", "audio", "vision")
    path = folder / f"dia0_utt{number}.mp4"
    return Utterance(3, "dev", 0, number, SPEAKERS[number % 2], 1 + number % 6, shown, path)
