"""Progress on stderr: a bar with rate and remaining time on a terminal, an occasional plain line elsewhere."""

import sys
import time

BAR_SECONDS = 0.2
LINE_SECONDS = 15.0
WIDTH = 24


class Progress:
    """Counts finished items; silent without a label."""

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total, self.finished = label, total, 0
        self.started = self.last_shown = time.monotonic()
        self.is_terminal = sys.stderr.isatty()

    def step(self) -> None:
        """Count one more item as finished."""
        self.finished += 1
        interval = BAR_SECONDS if self.is_terminal else LINE_SECONDS
        now = time.monotonic()
        if self.label and (now - self.last_shown >= interval or (self.is_terminal and self.finished == self.total)):
            self.last_shown = now
            print(self._line(now), end="\r" if self.is_terminal else "\n", file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the line of the bar."""
        if self.label and self.is_terminal and self.finished:
            print(file=sys.stderr)

    def _line(self, now: float) -> str:
        rate = self.finished / max(now - self.started, 1e-6)
        remaining = int((self.total - self.finished) / rate)
        filled = WIDTH * self.finished // self.total
        bar = f"[{'#' * filled}{'.' * (WIDTH - filled)}] " if self.is_terminal else ""
        time_left = f"{remaining // 60}:{remaining % 60:02d}"
        return f"{self.label} {bar}{self.finished}/{self.total}, {rate:.1f}/s, {time_left} left"
