"""How far along: a bar with rate and time left on a terminal, a plain line now and then elsewhere."""

import sys
import time

BAR_SECONDS = 0.2
LINE_SECONDS = 15.0
WIDTH = 24


class Progress:
    """Counts finished items; silent without a label."""

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total, self.done = label, total, 0
        self.began = self.shown = time.monotonic()
        self.terminal = sys.stderr.isatty()

    def step(self) -> None:
        self.done += 1
        pause = BAR_SECONDS if self.terminal else LINE_SECONDS
        now = time.monotonic()
        if self.label and (now - self.shown >= pause or (self.terminal and self.done == self.total)):
            self.shown = now
            print(self._line(now), end="\r" if self.terminal else "\n", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the finished bar on its own line."""
        if self.label and self.terminal and self.done:
            print(file=sys.stderr)

    def _line(self, now: float) -> str:
        rate = self.done / max(now - self.began, 1e-6)
        left = int((self.total - self.done) / rate)
        filled = WIDTH * self.done // self.total
        bar = f"[{'#' * filled}{'.' * (WIDTH - filled)}] " if self.terminal else ""
        return f"{self.label} {bar}{self.done}/{self.total}, {rate:.1f}/s, {left // 60}:{left % 60:02d} left"
