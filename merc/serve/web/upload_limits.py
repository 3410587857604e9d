"""Limits of the page: sizes of uploads, numbers and age of jobs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PageLimits:
    """Limits for the page's users; the page gets them as JSON under these names."""

    clips: int = 100  # per job
    clip_bytes: int = 500_000_000
    job_bytes: int = 1_000_000_000
    seconds: float = 900.0  # per job, by the clips' headers
    text: int = 200_000  # characters per clip, enough for a film's subtitles
    waiting: int = 20  # jobs not yet read, of all users
    kept: int = 50  # jobs in memory, of all users; beyond that the least recently used is forgotten
    idle: float = 1800.0  # seconds without a request until a job is forgotten
