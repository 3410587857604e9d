"""Clips that come in: checked before, counted while, never kept under the name that they came with."""

from collections.abc import AsyncIterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from merc.problem import Problem
from merc.serve.jobs import Clip, Job, Limits

UNPRINTABLE = dict.fromkeys(range(32)) | {0x7F: None} | dict.fromkeys(range(0x202A, 0x202F)) | {0x2066: None}
NAME = 120  # characters of a name that are shown


class TooLarge(Problem):
    """More than the limits allow."""


class Offered(BaseModel):
    """One clip that the page wants to upload."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=1000)
    text: str = ""
    speaker: str = Field("", max_length=100)
    size: int = Field(ge=0)


class Order(BaseModel):
    """What the page asks for: clips in order, or an example."""

    model_config = ConfigDict(extra="forbid")
    clips: list[Offered] = []
    example: str | None = None
    cut: Literal["long", "all", "none"] = "long"


CUT = {"long": None, "all": True, "none": False}  # what Predictor.read calls it


def order(content: bytes, limits: Limits) -> Order:
    """The order in a request's body, if the limits allow it."""
    try:
        asked = Order.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise Problem(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if len(asked.clips) > limits.clips:
        raise TooLarge(f"{len(asked.clips)} clips: at most {limits.clips} make a dialogue; choose fewer")
    for clip in asked.clips:
        clip.name = shown(clip.name)
        if clip.size > limits.clip_bytes:
            raise TooLarge(f"{clip.name}: {_mb(clip.size)}; a clip has at most {_mb(limits.clip_bytes)}: cut it")
        if len(clip.text) > limits.text:
            raise TooLarge(f"{clip.name}: its text has {len(clip.text)} characters; at most {limits.text}")
    if sum(clip.size for clip in asked.clips) > limits.job_bytes:
        raise TooLarge(f"the clips have more than {_mb(limits.job_bytes)} together; choose fewer")
    return asked


def shown(name: str) -> str:
    """A file's name as it is safe to show: no folders, no control characters, not endless."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1].translate(UNPRINTABLE).strip()
    return (last if len(last) <= NAME else last[: NAME - 1] + "…") or "clip"


async def receive(job: Job, clip: Clip, body: AsyncIterator[bytes], limits: Limits) -> None:
    """Write a clip's bytes; more than allowed, or a full disk, and nothing of it stays."""
    others = sum(one.path.stat().st_size for one in job.clips if one is not clip and one.path.is_file())
    allowed, size = min(limits.clip_bytes, limits.job_bytes - others), 0
    try:
        with clip.path.open("xb") as file:
            async for chunk in body:
                if (size := size + len(chunk)) > allowed:
                    raise TooLarge(f"{clip.name}: a clip has at most {_mb(limits.clip_bytes)}: cut it")
                file.write(chunk)
    except BaseException as error:
        clip.path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise Problem(f"{clip.name}: the server could not store it: {error.strerror}") from None
        raise
    if not size:
        raise Problem(f"{clip.name}: the file is empty; choose another")
    clip.there = True


def _mb(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
