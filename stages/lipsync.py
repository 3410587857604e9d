"""Lip-sync: train, without labels, the network by which encode chooses the speaking face of a clip."""

from pathlib import Path

from pydantic import Field

from merc.data.records import manifest, truth
from merc.encoders.lipsync import candidates, clip_inputs
from merc.runtime import entry_point, params, results
from merc.runtime.errors import error_context
from merc.training.core.loop_config import LoopConfig

OUT = {modality: Path("out/lipsync") / modality for modality in ("text", "audio", "vision")}
METRICS = Path("metrics/lipsync.json")
DIM = 64  # of an embedding


class LipSyncConfig(LoopConfig):
    """Section `lipsync` of params.yaml."""

    clips: int = Field(ge=1)
    seed: params.Seed


def main() -> None:
    """Write out/lipsync/<modality> and metrics/lipsync.json."""
    config = params.read("lipsync", LipSyncConfig)
    corpora = manifest.check_corpora(params.read("data.corpora", list[str]))
    train = candidates.read_candidates("train", corpora, config.clips, config.seed) if config.epochs else []
    results.write_disabled(OUT["text"], "text has no lips")
    if train:
        train_towers(config, train, candidates.read_candidates("dev", corpora), truth.read_truth("dev", corpora))
    else:
        write_off("no clip of train has a face track and sound" if config.epochs else "lipsync.epochs is 0")


def write_off(reason: str) -> None:
    """Write markers in place of the networks: encode then takes the largest face as the speaker."""
    for modality in ("audio", "vision"):
        results.write_disabled(OUT[modality], reason)
    results.write_json(METRICS, dict.fromkeys(candidates.METRIC_NAMES))


def train_towers(
    config: LipSyncConfig, train: list[candidates.Candidate], dev: list[candidates.Candidate], known_truth
) -> None:
    """Train the towers on train, select the best epoch and score it on dev."""
    import torch

    from merc.encoders.lipsync import synchrony
    from merc.runtime.device import select_device
    from merc.training.core import loop
    from merc.training.core.epoch_callbacks import TensorBoardLogger, log_folder
    from merc.training.lipsync import lipsync_training
    from models.lipsync import Synchrony, TowersConfig, save

    torch.set_num_threads(1)
    torch.manual_seed(config.seed)
    towers = TowersConfig(
        height=clip_inputs.HEIGHT,
        width=clip_inputs.WIDTH,
        bands=clip_inputs.BANDS,
        frames_per_picture=clip_inputs.FRAMES_PER_PICTURE,
        dim=DIM,
    )
    network = Synchrony(towers).to(select_device())
    batches = lipsync_training.SegmentBatches([candidate.clip for candidate in train], config.batch, config.seed)
    score = lipsync_training.SynchronisationScore([candidate.clip for candidate in dev or train])
    with error_context("lipsync"), TensorBoardLogger(log_folder("lipsync")) as board:
        loop.fit(network, lipsync_training.synchronisation_objective, batches, score, config, callbacks=[board])
    for modality, module in (("vision", network), ("audio", network.audio)):
        results.recreate_folder(OUT[modality])
        save(OUT[modality], module, towers)
    curves = [synchrony.synchrony_evidence(network, candidate.clip) for candidate in dev]
    results.write_json(METRICS, candidates.lipsync_metrics(dev, curves, known_truth))


if __name__ == "__main__":
    entry_point.run(main)
