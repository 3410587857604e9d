"""Shards of a stage: the i-th of n processes does every n-th of its items, on any machine that sees this folder.

`python -m stages.encode sample text --shard 0/3` leaves the items in out/.partial, where a stage keeps what an
interrupted run finished; the stage itself, without --shard, finds them there, does what is not there, and writes
the outputs. So merging is running the stage, and a lost shard costs time alone. docs/scale.md shows it with SLURM.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from merc.runtime.errors import UserError

FLAG = "--shard"
ARRAY = "MERC_ARRAY"  # a command that runs all shards of the stage that is appended, and waits for them
WAIT_SECONDS = 3600.0  # for another shard that is unpacking archives
# what a scheduler says: the number of this process, and how many there are
SCHEDULERS = (("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"), ("SKYPILOT_JOB_RANK", "SKYPILOT_NUM_JOBS"))
T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """One of `count` processes that share the items of a stage."""

    index: int
    count: int

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """The items of this shard."""
        return items[self.index :: self.count]


def take(words: Sequence[str], environment: Mapping[str, str] = os.environ) -> tuple[list[str], Shard | None]:
    """The words of a command line without `--shard [i/n]`, and that shard; without i/n the scheduler's."""
    if FLAG not in words:
        return list(words), None
    place = words.index(FLAG)
    rest, said = list(words[:place]), list(words[place + 1 :])
    if said and "/" in said[0]:
        return rest + said[1:], _parse(said[0])
    return rest + said, _parse(environment.get("MERC_SHARD") or _scheduled(environment))


def run_array(stage: str, *items: str) -> None:
    """Run the command in MERC_ARRAY, which does all shards of the stage; what it leaves undone is done here."""
    text = os.environ.get(ARRAY, "")
    try:
        command = shlex.split(text)
    except ValueError as problem:  # a quote that is not closed
        raise UserError(f"{ARRAY} = {text!r}: {problem}; see docs/scale.md") from None
    if not command:
        return
    try:
        code = subprocess.run([*command, stage, *items], check=False).returncode
    except OSError as problem:
        raise UserError(f"{ARRAY} = {shlex.join(command)}: {problem.strerror}; see docs/scale.md") from None
    if code:
        print(f"{stage}: {shlex.join(command)} ended with exit code {code}; the rest is done here", file=sys.stderr)


def _scheduled(environment: Mapping[str, str]) -> str:
    for index, count in SCHEDULERS:
        if index in environment and count in environment:
            return f"{environment[index]}/{environment[count]}"
    names = ", ".join(index for index, _ in SCHEDULERS)
    raise UserError(f"{FLAG}: say which, as {FLAG} 0/3, or in MERC_SHARD; no scheduler does ({names})")


def _parse(text: str) -> Shard:
    # Python itself refuses numbers of more than 4,300 digits
    matched = re.fullmatch(r"(\d{1,18})/(\d{1,18})", text)
    shard = Shard(*map(int, matched.groups())) if matched else Shard(0, 0)
    if not shard.index < shard.count:
        raise UserError(
            f"{FLAG} {text[:60]}: write i/n with i from 0 to n - 1, for example 0/3 (a SLURM array from 0)"
        )
    return shard
