"""Hostile files, side by side: does any of them crash merc, hang it, or take much memory?

python -m bench.fuzz --inputs 10000 --seconds 30      writes metrics/bench/fuzz.json; exit 1 if any did
python -m bench.fuzz --replay 4711                    reads that input alone and shows what happens
"""

import argparse
import json
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import numpy as np

from bench.fuzz import mutations, seeds, targets
from merc.runtime import results, workers
from merc.runtime.errors import UserError

SPARE_BYTES = 4_000_000_000  # of addresses a worker may take beyond what it has after its imports
MAX_SHOWN = 20  # crashes that are printed
STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class FuzzInput:
    """One input, which follows from the seed and its number."""

    seed: int
    number: int


@dataclass(frozen=True)
class Outcome:
    """What reading an input came to."""

    target: str
    name: str  # of the file it was made from
    result: str  # accepted, refused or crashed
    message: str
    peak_bytes: int  # most resident memory of the worker while it read, its imports included
    grown_bytes: int  # of it, what it had not before
    seconds: float


class Fuzzer:
    """Makes inputs from the seed files in a folder, and reads them."""

    def __init__(self, folder: Path, export: Path | None) -> None:
        self.readers: dict[str, Callable[[Path, Path], None]] = dict(targets.READERS)
        self.seeds = {name: sorted((folder / name).iterdir()) for name in self.readers}
        if export is not None:
            self.readers["export"] = targets.ExportedFolder(export, folder / "recording/a.wav")
            self.seeds["export"] = [path for path in sorted(export.rglob("*")) if path.is_file()]
        self.export = export
        shares = np.array([targets.SHARES[name] for name in self.readers], float)
        self.probabilities = shares / shares.sum()
        self.limit = _status("VmSize") + SPARE_BYTES

    def read(self, fuzz_input: FuzzInput) -> Outcome:
        """Make one input and read it, in a folder of its own."""
        resource.setrlimit(resource.RLIMIT_AS, (self.limit, self.limit))
        random = np.random.default_rng([fuzz_input.seed, fuzz_input.number])
        target = str(random.choice(list(self.readers), p=self.probabilities))
        files = self.seeds[target]
        source, other = (files[random.integers(len(files))] for _ in range(2))
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        resident = _status("VmRSS")
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="merc-fuzz-") as folder:
            place, scratch = Path(folder) / "input", Path(folder) / "scratch"
            place.mkdir()
            scratch.mkdir()
            name = source.relative_to(self.export).as_posix() if target == "export" else source.name
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(mutations.mutate(random, source.read_bytes(), other.read_bytes()))
            outcome = partial(Outcome, target, name)
            try:
                self.readers[target](path, scratch)
                result = "accepted", ""
            except UserError as problem:
                result = "refused", str(problem).replace(folder, "")
            except Exception:
                result = "crashed", traceback.format_exc()
        peak = _status("VmHWM")
        return outcome(*result, peak, peak - resident, time.perf_counter() - begin)


def _status(key: str) -> int:
    """A memory figure of this process, in bytes."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024


def summarise(inputs: Sequence[FuzzInput], outcomes: Sequence[Outcome | workers.JobFailure]) -> dict:
    """Counts, the largest memory, the longest time, and what failed."""
    finished = [outcome for outcome in outcomes if isinstance(outcome, Outcome)]
    pairs = list(zip(inputs, outcomes, strict=True))
    died = {pair[0].number: pair[1].reason for pair in pairs if isinstance(pair[1], workers.JobFailure)}
    crashed = {
        pair[0].number: f"{pair[1].target} {pair[1].name}: {pair[1].message}"
        for pair in pairs
        if isinstance(pair[1], Outcome) and pair[1].result == "crashed"
    }
    counts = Counter((outcome.target, outcome.result) for outcome in finished)
    largest = max(finished, key=lambda outcome: outcome.peak_bytes)
    longest = max(finished, key=lambda outcome: outcome.seconds)
    return {
        "inputs": len(inputs),
        "by_kind": {
            target: {result: counts[target, result] for result in ("accepted", "refused", "crashed")}
            for target in sorted({outcome.target for outcome in finished})
        },
        "crashed": len(crashed),
        "hung_or_died": len(died),
        "peak_megabytes": round(largest.peak_bytes / 1e6),
        "peak_of": f"{largest.target} {largest.name}",
        "grown_megabytes": round(max(outcome.grown_bytes for outcome in finished) / 1e6),
        "longest_seconds": round(longest.seconds, 1),
        "longest_of": f"{longest.target} {longest.name}",
        "failures": {**crashed, **died},
    }


def run(count: int, seconds: float, seed: int, export: Path | None) -> dict:
    """Read `count` inputs in worker processes, each for at most `seconds`; returns the summary."""
    av.logging.set_level(None)
    inputs = [FuzzInput(seed, number) for number in range(count)]
    with tempfile.TemporaryDirectory(prefix="merc-fuzz-seeds-") as folder:
        fuzzer = Fuzzer(write_seeds(Path(folder)), export)
        return summarise(inputs, workers.run(inputs, fuzzer.read, label="fuzz", seconds=seconds))


def write_seeds(folder: Path) -> Path:
    """Write the whole files of every kind into a folder each."""
    for name, write in seeds.WRITERS.items():
        (folder / name).mkdir()
        write(folder / name)
    return folder


def main() -> None:
    """Parse the command line, run, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30.0, help="of one input, then it counts as hung")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--export", type=Path, default=Path("out/export"), help="an exported model")
    parser.add_argument("--replay", type=int, help="number of the one input to read, in this process")
    arguments = parser.parse_args()
    if arguments.inputs < 1 or not arguments.seconds > 0:
        raise UserError(f"--inputs {arguments.inputs} --seconds {arguments.seconds:g}: at least 1, above 0")
    export = arguments.export if (arguments.export / "hashes.json").is_file() else None
    if export is None:
        print(
            f"{arguments.export}: no exported model: that kind is left out",
            file=sys.stderr,
        )
    if arguments.replay is not None:
        with tempfile.TemporaryDirectory() as folder:
            outcome = Fuzzer(write_seeds(Path(folder)), export).read(FuzzInput(arguments.seed, arguments.replay))
        print(f"{outcome.target} {outcome.name}: {outcome.result}: {outcome.message}")
        return
    summary = run(arguments.inputs, arguments.seconds, arguments.seed, export)
    failures = summary.pop("failures")
    for number, message in list(failures.items())[:MAX_SHOWN]:
        print(f"input {number}: {message}", file=sys.stderr)
    results.write_json(Path("metrics/bench/fuzz.json"), summary)
    print(json.dumps(summary, indent=2))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    try:
        main()
    except UserError as problem:
        sys.exit(f"bench.fuzz: {problem}")
