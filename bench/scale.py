"""python -m bench.scale [UTTERANCES ...]: the stages after encode on corpora that grow, features alone.

Makes corpora of random features of MELD's shapes (10,000, 50,000 and 200,000 utterances; dev 5 %, test 10 %), and
runs pretrain, train and distill (one epoch of one seed; with SEEDS=2 of two at once) and evaluate on each, a
process a stage, as `dvc repro` does. Noise is left out of evaluate: it would encode sounds.

Writes metrics/bench/scale.json: processor seconds per 10,000 utterances, and the largest private memory (RssAnon:
what is mapped from files is the system's, and shared) of the stage's process and those below it together.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import yaml

from merc.data.records import manifest as manifests
from merc.data.records import packs
from merc.data.records.labels import MELD_EMOTIONS, MELD_SENTIMENTS
from merc.runtime import results
from merc.runtime.errors import UserError

REPORT = Path("metrics/bench/scale.json")
SIZES = (10_000, 50_000, 200_000)
SHARES = {"train": 0.85, "dev": 0.05, "test": 0.10}
STEPS, WIDTHS = {"text": 15, "audio": 20, "vision": 20}, {"text": 384, "audio": 128, "vision": 320}
TURNS = 10  # of a dialogue, on average
PART = 2000  # utterances that are made at once
WORDS = 20_000  # of the language; how often the n-th is said follows Zipf's law, 1 / n
STAGES = ("pretrain", "train", "distill", "evaluate")
POLL_SECONDS = 0.1
ONE_EPOCH = {"epochs": 1, "patience": 1}


def main(*words: str) -> None:
    """Run every size."""
    sizes = [int(word) for word in words] or list(SIZES)
    if min(sizes) < 1000:
        raise UserError("at least 1000 utterances")
    settings, report = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8")), {}
    with TemporaryDirectory(dir=Path.cwd() / "out" if Path("out").is_dir() else None) as home:
        for size in sizes:
            folder = Path(home) / str(size)
            folder.mkdir()
            report[str(size)] = _measure(folder, size, settings)
            results.write_json(REPORT, report)
            subprocess.run(["rm", "-r", str(folder)], check=True)
    print(REPORT.read_text(encoding="utf-8"))


def _measure(folder: Path, size: int, settings: dict[str, Any]) -> dict[str, Any]:
    _write_corpus(folder, size)
    seeds = int(os.environ.get("SEEDS", "1"))
    settings["train"] |= ONE_EPOCH | {"seeds": [*range(1, seeds + 1)]}
    settings["pretrain"] |= ONE_EPOCH
    settings["distill"] |= ONE_EPOCH | {"phase_epochs": 0}
    damage = settings["evaluate"]["corruptions"]
    settings["evaluate"]["corruptions"] = [name for name in damage if not name.startswith("noise")]
    settings["compute"] |= {"workers": seeds, "device": "cpu"}
    (folder / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    packed = sum(file.stat().st_size for file in folder.glob("out/encode/*/*"))
    measured = {}
    for stage in STAGES:
        measured[stage] = _run(folder, stage, size)
        print(size, stage, measured[stage], flush=True)
    return {"packs_gb": packed / 1e9, **measured}


def _run(folder: Path, stage: str, size: int) -> dict[str, float]:
    """Processor seconds and memory of a stage."""
    environment = os.environ | {"PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    begin, before = time.monotonic(), os.times()
    process = subprocess.Popen([sys.executable, "-m", f"stages.{stage}"], cwd=folder, env=environment)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, _private_mb(process.pid))
        time.sleep(POLL_SECONDS)
    if process.returncode:
        raise UserError(f"{stage} ended with exit code {process.returncode} on {size} utterances")
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return {
        "seconds": time.monotonic() - begin,
        "processor_seconds_per_10000": seconds / size * 10_000,
        "private_mb": peak,
    }


def _private_mb(pid: int) -> float:
    """MB of memory that belongs to no file, of a process and all below it; 0 once it has ended."""
    total = 0.0
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
        total += (
            next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")), 0) / 1024
        )
        children = [
            word for path in Path(f"/proc/{pid}/task").glob("*/children") for word in path.read_text().split()
        ]
    except OSError:
        return total
    return total + sum(_private_mb(int(child)) for child in children)


def _write_corpus(folder: Path, size: int) -> None:
    """The manifests and packs of a corpus, as extract and encode leave them, a part at a time in memory."""
    random, home = np.random.default_rng(1), Path.cwd()
    os.chdir(folder)  # packs and manifests are named from the project's folder
    try:
        for split, share in SHARES.items():
            table = _manifest(split, round(size * share), random)
            place = manifests.split_folder(split, "sample")
            place.mkdir(parents=True)
            manifests.write_manifest(place / "manifest.parquet", table)
            for modality in manifests.MODALITIES:
                _write_pack(packs.pack_path(split, "sample", modality), table, modality, random)
    finally:
        os.chdir(home)


def _write_pack(file: Path, table: pd.DataFrame, modality: str, random: np.random.Generator) -> None:
    parts = []
    for first in range(0, len(table), PART):
        rows = table.iloc[first : first + PART]
        lengths = random.integers(1, 2 * STEPS[modality], len(rows))
        features = [random.standard_normal((length, WIDTHS[modality]), np.float32) for length in lengths]
        pack = packs.build_pack(
            list(features),
            [np.zeros((length, 1), np.float32) for length in lengths],
            np.zeros((1, WIDTHS[modality])),
            encoder="random",
            unit_names=("time",),
            step_seconds=None,
        )
        parts.append(packs.PackPart(file.with_suffix(f".{first}"), rows))
        packs.write_pack(parts[-1].file, pack, rows)
    packs.join_packs(file, parts, table)
    for part in parts:
        part.file.unlink()


def _manifest(split: str, size: int, random: np.random.Generator) -> pd.DataFrame:
    bounds = np.sort(random.choice(np.arange(1, size), size // TURNS - 1, replace=False))
    lengths = np.diff([0, *bounds, size])
    dialogue = np.repeat(np.arange(len(lengths)), lengths)
    turn = np.arange(size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    table = pd.DataFrame({"dialogue": dialogue.astype(str), "turn": turn})
    table["corpus"], table["split"] = "sample", split
    lengths = random.integers(1, 2 * STEPS["text"], size)
    said = random.choice(WORDS, lengths.sum(), p=(chance := 1 / np.arange(1, WORDS + 1)) / chance.sum()).astype(str)
    table["text"] = [" ".join(words) for words in np.split(said, np.cumsum(lengths)[:-1])]
    table["utterance"] = "dia" + table["dialogue"] + "_utt" + table["turn"].astype(str)
    table["group"] = "sample/" + split + "/" + table["dialogue"]
    table["speaker"] = random.choice(["Ann", "Bob", "Cy"], size)
    table["emotion"] = random.choice(np.array(MELD_EMOTIONS), size)
    table["sentiment"] = random.choice(np.array(MELD_SENTIMENTS), size)
    for modality in manifests.MODALITIES:
        table[f"{modality}_status"], table[f"{modality}_reason"] = "ok", ""
    for name in manifests.SCHEMA.names:
        if name not in table:
            table[name] = None
    return table.astype({"start": float, "end": float, "wav_start": float})


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except UserError as problem:
        sys.exit(f"bench.scale: {problem}")
