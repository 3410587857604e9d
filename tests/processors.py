"""Every stage on a reduced sample, on this processor and on emulated ones: `make test-processors`.

Each stage is given this processor's inputs, so that a stage that differs does not hide the next ones; what it
writes is compared byte by byte. Emulation needs QEMU's user mode (Debian and Ubuntu: apt install qemu-user) and
takes 8 to 100 times as long. Names try other processors (`qemu-x86_64 -cpu help`), --stages some stages again.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from closure import ROOT, instances, names
from whole_run import ORDER, write_params

QEMU = "qemu-x86_64"
PROCESSORS = ("Haswell-noTSX", "EPYC-Rome")  # of two makers; QEMU emulates no AVX-512, this processor may have it
REDUCED = {
    "sample": {"utterances": {"train": 24, "dev": 8, "test": 8}},
    "lipsync": {"epochs": 1},
    "pretrain": {"epochs": 2},
    "train": {"seeds": [1], "epochs": 2},
    "distill": {"epochs": 2, "phase_epochs": 1},
    "evaluate": {"repeats": 1, "rates": [0.5], "uneven": [], "rounds": 100},
    "explain": {"utterances": 1, "random_orders": 1},
    "compute": {"workers": 1, "device": "cpu"},
}
SHOWN = 5  # names of files that differ
# A clip that has a time limit is read in a worker process, even by a single worker. All methods of explain run, on
# fewer utterances and passes than params.yaml can say: emulated, MiniLM takes some seconds for each sentence.
PROGRAM = """
import importlib, sys
import stages
name, *words = sys.argv[1:]
stage = importlib.import_module(f"stages.{name}")
if name == "extract":
    stage.extraction.CLIP_TIMEOUT = None
if name == "explain":
    choose = stage.selection.choose_utterances
    stage.selection.choose_utterances = lambda *arguments: choose(*arguments)[:1]
    stage.choose = lambda split, utterances: [[len(split.starts) - 2]]  # the last dialogue, of one utterance
    stage.TOKENS = 1
    stage.figures.ROWS = 4
    from merc.explanation.methods import integrated_gradients, shap_values, token_shap
    integrated_gradients.INITIAL_INTERVALS, integrated_gradients.ABSOLUTE_TOLERANCE = 2, 100.0
    shap_values.SAMPLES = 4
    token_shap.MAX_MASKED_SENTENCES = 16
stage.main(*words)
"""


def main() -> int:
    """Compare, print a line a stage and processor; 1 if any output differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("processors", nargs="*", default=PROCESSORS, metavar="PROCESSOR")
    parser.add_argument("--stages", nargs="+", default=ORDER, choices=ORDER, metavar="STAGE")
    asked = parser.parse_args()
    if shutil.which(QEMU) is None:
        print(f"{QEMU} not found: no other processor can be tried here (Debian and Ubuntu: apt install qemu-user)")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        own = project(Path(folder) / "own")
        last = max(map(ORDER.index, asked.stages))
        for stage, item, _ in chosen(ORDER[: last + 1]):
            run(own, stage, item, [])
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            equal = list(pool.map(lambda name: compare(own, name, asked.stages), asked.processors))
    return 0 if all(equal) else 1


def chosen(stages: list[str]) -> list[tuple[str, dict[str, str], dict]]:
    """(stage, item, declaration) in the order of the pipeline."""
    return [one for stage in ORDER if stage in stages for one in instances(["sample"]) if one[0] == stage]


def project(folder: Path) -> Path:
    """A folder that the stages can run in."""
    folder.mkdir()
    for name in ("data/weights", "data/features", "dvc.yaml"):
        copy(ROOT / name, folder / name)
    write_params(folder, REDUCED)
    return folder


def compare(own: Path, processor: str, stages: list[str]) -> bool:
    """Whether every stage writes the same on this processor as in `own`."""
    place, equal = project(own.with_name(processor)), True
    for stage, item, declared in chosen(ORDER[: 1 + max(map(ORDER.index, stages))]):
        outputs = names([*declared["outs"], *declared.get("metrics", []), *declared.get("plots", [])])
        if stage in stages:
            seconds = run(place, stage, item, [QEMU, "-cpu", processor])
            different = differing(own, place, outputs)
            shown = " ".join(different[:SHOWN])
            verdict = f"{len(different)} FILES DIFFER, {shown}" if different else "the same"
            print(f"{processor} {' '.join([stage, *item.values()])}: {verdict} ({seconds:.0f} s)", flush=True)
            equal = equal and not different
        for name in outputs:
            copy(own / name, place / name)
    return equal


def differing(own: Path, place: Path, outputs: list[str]) -> list[str]:
    """The files below the outputs that are not the same in both folders."""
    first, second = (
        {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for name in outputs
            for path in files(folder / name)
        }
        for folder in (own, place)
    )
    return sorted(name for name in first | second if first.get(name) != second.get(name))


def files(path: Path) -> list[Path]:
    """The file, or every file below the folder."""
    return [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]


def copy(origin: Path, target: Path) -> None:
    """A file or a whole folder, in place of what is there."""
    if target.is_dir():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if origin.is_dir() else shutil.copyfile)(origin, target)


def run(place: Path, stage: str, item: dict[str, str], before: list[str]) -> float:
    """One stage, in one process, for QEMU does not always survive a fork; returns seconds."""
    begun = time.monotonic()
    words = [*before, sys.executable, "-c", PROGRAM, stage, *item.values()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{stage}: exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return time.monotonic() - begun


if __name__ == "__main__":
    sys.exit(main())
