"""Uploads of clips: validates the request, receives files within the limits, makes file names safe to display."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from merc.runtime.errors import UserError
from merc.serve.web.jobs import JobClip, PageJob, PageLimits

UNPRINTABLE = dict.fromkeys(range(32)) | {0x7F: None} | dict.fromkeys(range(0x202A, 0x202F)) | {0x2066: None}
MAX_NAME_LENGTH = 120  # maximum characters of a displayed name
GRACE_SECONDS = 20.0  # that a body may stand still, and after which it must have come at MIN_RATE on average
MIN_RATE = 20_000  # bytes a second: 160 kbit/s


class UploadTooLarge(UserError):
    """Raised for an upload beyond the limits; answered with status 413."""


class OfferedClip(BaseModel):
    """A clip that the page is going to upload."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=1000)
    text: str = ""
    speaker: str = Field("", max_length=100)
    size: int = Field(ge=0)


class JobOrder(BaseModel):
    """Body of the request for a new job: clips in order, or an example's name."""

    model_config = ConfigDict(extra="forbid")
    clips: list[OfferedClip] = []
    example: str | None = None
    cut: Literal["long", "all", "none"] = "long"


CUT_ARGUMENTS = {"long": None, "all": True, "none": False}  # values of Predictor.read's argument `cut`


def parse_order(content: bytes, limits: PageLimits) -> JobOrder:
    """Parse a request's body and check it against the limits."""
    try:
        request = JobOrder.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if len(request.clips) > limits.clips:
        raise UploadTooLarge(f"{len(request.clips)} clips: at most {limits.clips} make a dialogue; choose fewer")
    for clip in request.clips:
        clip.name = display_name(clip.name)
        if clip.size > limits.clip_bytes:
            raise UploadTooLarge(
                f"{clip.name}: {_mb(clip.size)}; a clip has at most {_mb(limits.clip_bytes)}: cut it"
            )
        if len(clip.text) > limits.text:
            raise UploadTooLarge(f"{clip.name}: its text has {len(clip.text)} characters; at most {limits.text}")
    if sum(clip.size for clip in request.clips) > limits.job_bytes:
        raise UploadTooLarge(f"the clips have more than {_mb(limits.job_bytes)} together; choose fewer")
    return request


def display_name(name: str) -> str:
    """A file name that is safe to display: no folders, no control characters, at most 120 characters."""
    base = name.replace("\\", "/").rsplit("/", 1)[-1].translate(UNPRINTABLE).strip()
    return (base if len(base) <= MAX_NAME_LENGTH else base[: MAX_NAME_LENGTH - 1] + "…") or "clip"


def check_length(clip: JobClip, length: str | None) -> None:
    """Refuse a body whose header tells another length than the page has declared, before any of it is read."""
    if length is not None and length != str(clip.size):
        error = UploadTooLarge if length.isdecimal() and int(length) > clip.size else UserError
        raise error(f"{clip.name}: {length[:20]} bytes are sent, but {clip.size} were declared; choose it again")


async def receive_clip(job: PageJob, clip: JobClip, body: AsyncIterator[bytes]) -> None:
    """Write a clip's bytes to disk; delete the file if it has not the declared size or the disk is full."""
    size = 0
    try:
        with clip.path.open("xb") as file:
            async for chunk in punctual(body):
                job.last_received = time.monotonic()
                if (size := size + len(chunk)) > clip.size:
                    raise UploadTooLarge(f"{clip.name}: more is sent than the {clip.size} bytes that were declared")
                if job.is_forgotten:
                    raise UserError(f"{clip.name}: is not waited for any more")
                file.write(chunk)
        if size != clip.size:
            raise UserError(f"{clip.name}: {size} of {clip.size} bytes have arrived; choose it again")
    except BaseException as error:
        clip.path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(f"{clip.name}: the server could not store it: {error.strerror}") from None
        raise
    if not size:
        raise UserError(f"{clip.name}: the file is empty; choose another")
    clip.has_arrived = True


async def punctual(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks of a body; a client that stops sending, or hardly sends, is given up."""
    begin, size = time.monotonic(), 0
    while True:
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                chunk = await anext(body, None)
        except TimeoutError:
            raise UserError("the upload has come to a halt; try again") from None
        if chunk is None:
            return
        size += len(chunk)
        if size < MIN_RATE * (time.monotonic() - begin - GRACE_SECONDS):
            raise UserError("the upload is too slow; try again")
        yield chunk


def _mb(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.0f} MB"
