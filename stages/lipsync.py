"""Lip-sync: learn, without labels, whose mouth moves with the sound; encode chooses the speaking face by it."""

from pathlib import Path

from merc import entry, lipsync, manifest, markers, mouths, params, results, truth
from merc.lipsync import LipSync
from merc.problem import during

OUT = {modality: Path("out/lipsync") / modality for modality in ("text", "audio", "vision")}
METRICS = Path("metrics/lipsync.json")
DIM = 64  # of an embedding


def main() -> None:
    """Write out/lipsync/<modality> and metrics/lipsync.json."""
    config = params.read("lipsync", LipSync)
    corpora = manifest.only(params.read("data.corpora", list[str]))
    train = lipsync.read("train", corpora, config.clips, config.seed) if config.epochs else []
    markers.write_off(OUT["text"], "text has no lips")
    if train:
        learn(config, train, lipsync.read("dev", corpora), truth.read("dev", corpora))
    else:
        stay_off("no clip of train has a face track and sound" if config.epochs else "lipsync.epochs is 0")


def stay_off(reason: str) -> None:
    """Without a network, the largest face speaks."""
    for modality in ("audio", "vision"):
        markers.write_off(OUT[modality], reason)
    results.write_json(METRICS, dict.fromkeys(lipsync.METRICS))


def learn(config: LipSync, train: list[lipsync.Candidate], dev: list[lipsync.Candidate], known) -> None:
    """Fit the towers on train, select and judge them on dev."""
    import torch

    from merc import synchrony
    from merc.device import device
    from models.lipsync import Synchrony, TowersConfig, save

    torch.set_num_threads(1)
    torch.manual_seed(config.seed)
    towers = TowersConfig(
        height=mouths.HEIGHT,
        width=mouths.WIDTH,
        bands=mouths.BANDS,
        frames_per_picture=mouths.FRAMES_PER_PICTURE,
        dim=DIM,
    )
    network = Synchrony(towers).to(device())
    with during("lipsync"):
        synchrony.fit(network, [one.clip for one in train], [one.clip for one in dev], config)
    for modality, part in (("vision", network), ("audio", network.audio)):
        markers.empty(OUT[modality])
        save(OUT[modality], part, towers)
    curves = [synchrony.evidence(network, one.clip) for one in dev]
    results.write_json(METRICS, lipsync.judge(dev, curves, known))


if __name__ == "__main__":
    entry.run(main)
