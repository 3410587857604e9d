"""python -m bench.page [USERS [SECONDS [PAUSE]]]: people on the page of `merc serve`, on loopback alone.

Starts the server itself on a free port with out/export. Each of the users (30) sends a dialogue of four of the
sample's clips with words of her own, waits as the page does, gets the answer, asks why for one utterance, looks at
it all for PAUSE seconds (20; half as much to one and a half times as much, drawn by a seed) and begins again, until
SECONDS (60) are over; the first dialogues come within one PAUSE, as people do. PAUSE 0 keeps every user sending.
A user also asks for another's dialogue, which must not exist for her. Writes metrics/bench/page.json: answers by
status, seconds from the request to the answer, the server's processor seconds and memory, who saw another's.
"""

import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection, HTTPException
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from merc.runtime import results
from merc.runtime.errors import UserError

REPORT = Path("metrics/bench/page.json")
MODEL, CLIPS = Path("out/export"), Path("data/raw/sample/dev_splits_complete")
DIALOGUE = 4  # clips, as in the shortest example of the page
WARM_ROUNDS = 2  # of four users at once, so that every thread of the server is warm
TIMEOUT_SECONDS = 120.0  # of one request; of the users after SECONDS
SETTLE_SECONDS = 6.0  # until memory is read again: longer than the server needs to forget what expired
WORDS = ("well", "you", "know", "that", "we", "never", "really", "wanted", "to", "leave", "coffee", "tomorrow")


@dataclass
class Tally:
    """What all users saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # by kind of answer
    wrong: list[str] = field(default_factory=list)  # another's conversation, a failed job, a broken connection
    jobs: dict[int, str] = field(default_factory=dict)  # URL of each user's conversation
    lock: threading.Lock = field(default_factory=threading.Lock)


class User:
    """One browser: its cookie, its words."""

    def __init__(self, number: int, address: tuple[str, int], clips: list[Path], tally: Tally) -> None:
        self.number, self.address, self.tally = number, address, tally
        self.draw = random.Random(number)
        self.clips = [(path.name, path.read_bytes()) for path in clips]
        self.cookie = ""
        self.ask("GET", "/")

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body of an answer; a connection for each request."""
        connection = HTTPConnection(*self.address, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, path, body, {"cookie": self.cookie} if self.cookie else {})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        self.cookie = self.cookie or (answer.getheader("set-cookie") or "").partition(";")[0]
        with self.tally.lock:
            self.tally.statuses[answer.status] += 1
        return answer.status, content

    def live(self, until: float, pause: float) -> None:
        """Send, read, ask why, look, again."""
        time.sleep(self.draw.uniform(0, pause))
        while time.monotonic() < until:
            try:
                self.converse()
            except (OSError, HTTPException, ValueError, KeyError) as error:
                self.tally.wrong.append(f"user {self.number}: {error!r}")
            time.sleep(min(self.draw.uniform(0.5, 1.5) * pause, max(until - time.monotonic(), 0.0)))

    def converse(self, why: bool = True) -> None:
        """One dialogue: its answer, an explanation, a glance at another's, the end."""
        said = [" ".join([f"user{self.number}", *self.draw.sample(WORDS, 6)]) for _ in self.clips]
        begin = time.monotonic()
        job = self.send(said)
        if job is None:
            return
        rows = json.loads(self.ask("GET", f"{job}/dialogue")[1])["rows"]
        self.keep("answer", begin)
        if [row["text"] for row in rows] != said:
            self.tally.wrong.append(f"user {self.number}: {[row['text'] for row in rows]} instead of {said}")
        self.pry(job)
        if why:
            begin = time.monotonic()
            status, _ = self.ask("GET", f"{job}/explanations/{self.draw.randrange(len(said))}")
            self.keep("explanation" if status == 200 else "refused explanation", begin)
        self.ask("DELETE", job)

    def send(self, said: list[str]) -> str | None:
        """The URL of the conversation, once it has been read; None if there was no room for it."""
        offered = [
            {"name": name, "size": len(content), "text": text, "speaker": f"Speaker {self.number}"}
            for (name, content), text in zip(self.clips, said, strict=True)
        ]
        status, content = self.ask("POST", "/api/jobs", json.dumps({"clips": offered}).encode())
        if status != 201:
            self.keep("refused dialogue", time.monotonic())
            return None
        job = f"/api/jobs/{json.loads(content)['job']}"
        for place, (_, clip) in enumerate(self.clips):
            self.ask("PUT", f"{job}/clips/{place}", clip)
        self.ask("POST", f"{job}/start")
        status = json.loads(self.ask("GET", job)[1])
        while status["state"] != "ready":
            if status["state"] == "failed":
                raise ValueError(status["error"])
            status = json.loads(self.ask("GET", f"{job}?wait")[1])
        return job

    def pry(self, job: str) -> None:
        """Ask for another's conversation."""
        with self.tally.lock:
            self.tally.jobs[self.number] = job
            others = [other for number, other in self.tally.jobs.items() if number != self.number]
        if others:
            other = self.draw.choice(others)
            for path in ("", "/dialogue", "/emotions.json", "/pictures/0"):
                if self.ask("GET", other + path)[0] != 404:
                    self.tally.wrong.append(f"user {self.number} saw {other}{path}")

    def keep(self, kind: str, begin: float) -> None:
        with self.tally.lock:
            self.tally.seconds[kind].append(time.monotonic() - begin)


def main(*words: str) -> None:
    """Measure and write metrics/bench/page.json."""
    users, seconds, pause = (float(word) for word in (*words, *("30", "60", "20")[len(words) :]))
    if not (1 <= users <= 200 and 1 <= seconds <= 600 and 0 <= pause <= 600):
        raise UserError("at most 200 users, 600 seconds and pauses of 600 seconds")
    command = [sys.executable, "-m", "merc", "serve", "--model", str(MODEL), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        found = re.search(r"http://(127\.0\.0\.1):(\d+)/", server.stdout.readline() if server.stdout else "")
        if found is None:
            raise UserError("the server did not start")
        report = _measure(server.pid, (found[1], int(found[2])), int(users), seconds, pause)
    finally:
        server.terminate()
        server.wait()
    results.write_json(REPORT, report)
    print(REPORT.read_text(encoding="utf-8"))


def _measure(pid: int, address: tuple[str, int], count: int, seconds: float, pause: float) -> dict[str, Any]:
    clips = list(islice(cycle(_dialogues()), count))
    for _ in range(WARM_ROUNDS):
        _together([User(-1 - number, address, clips[number % count], Tally()).converse for number in range(4)])
    time.sleep(SETTLE_SECONDS)
    tally, before, load, processor = Tally(), _memory(pid), os.getloadavg()[0], _processor_seconds(pid)
    users = [User(number, address, own, tally) for number, own in enumerate(clips)]
    until = time.monotonic() + seconds
    unfinished = _together([partial(user.live, until, pause) for user in users], until + TIMEOUT_SECONDS)
    load, processor = max(load, os.getloadavg()[0]), _processor_seconds(pid) - processor
    time.sleep(SETTLE_SECONDS)
    after = _memory(pid)
    return {
        "users": count,
        "seconds": seconds,
        "pause": pause,
        "load": load,
        "statuses": {str(status): number for status, number in sorted(tally.statuses.items())},
        **{kind: _spread(taken) for kind, taken in sorted(tally.seconds.items())},
        "processor_seconds": processor,
        "memory_mb": {"before": before, "after": after},
        "wrong": tally.wrong,
        "unfinished": unfinished,
    }


def _together(tasks: Sequence[Callable[[], None]], deadline: float | None = None) -> int:
    """Run tasks at once; the number of those that are not done at the deadline."""
    deadline = time.monotonic() + TIMEOUT_SECONDS if deadline is None else deadline
    threads = [threading.Thread(target=task, daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0.0))
    return sum(thread.is_alive() for thread in threads)


def _dialogues() -> list[list[Path]]:
    """The first clips of each dialogue of the sample's dev split that is long enough."""
    turns: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(CLIPS.glob("dia*.mp4")):
        turns[path.name.partition("_")[0]].append(path)
    if long_enough := [own[:DIALOGUE] for own in turns.values() if len(own) >= DIALOGUE]:
        return long_enough
    raise UserError(f"{CLIPS}: run `dvc repro sample` first")


def _spread(seconds: list[float]) -> dict[str, float]:
    p50, p95 = np.percentile(seconds, [50, 95])
    return {"count": len(seconds), "p50_s": float(p50), "p95_s": float(p95), "max_s": max(seconds)}


def _processes(pid: int) -> list[int]:
    """A process and all below it."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    return [
        pid, *(one for path in children for child in path.read_text().split() for one in _processes(int(child)))
    ]  # fmt: skip


def _processor_seconds(pid: int) -> float:
    """Of a process and its children so far, those that ended included."""
    ticks = 0
    for one in _processes(pid):
        fields = Path(f"/proc/{one}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> int:
    """MB of a process and its children that are resident; what several share counts once."""
    rollups = (Path(f"/proc/{one}/smaps_rollup").read_text(encoding="utf-8") for one in _processes(pid))
    return sum(int(found[1]) for rollup in rollups if (found := re.search(r"Pss:\s+(\d+)", rollup))) // 1024


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except UserError as problem:
        sys.exit(f"bench.page: {problem}")
