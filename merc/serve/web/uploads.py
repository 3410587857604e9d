"""Uploads of clips: validates the request, receives files within the limits, makes file names safe to display."""

from collections.abc import AsyncIterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from merc.runtime.errors import UserError
from merc.serve.web.jobs import JobClip, PageJob, PageLimits

UNPRINTABLE = dict.fromkeys(range(32)) | {0x7F: None} | dict.fromkeys(range(0x202A, 0x202F)) | {0x2066: None}
MAX_NAME_LENGTH = 120  # maximum characters of a displayed name


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


async def receive_clip(job: PageJob, clip: JobClip, body: AsyncIterator[bytes], limits: PageLimits) -> None:
    """Write a clip's bytes to disk; delete the file if it exceeds the limits or the disk is full."""
    other_bytes = sum(
        other.path.stat().st_size for other in job.clips if other is not clip and other.path.is_file()
    )
    max_size, size = min(limits.clip_bytes, limits.job_bytes - other_bytes), 0
    try:
        with clip.path.open("xb") as file:
            async for chunk in body:
                if (size := size + len(chunk)) > max_size:
                    raise UploadTooLarge(f"{clip.name}: a clip has at most {_mb(limits.clip_bytes)}: cut it")
                file.write(chunk)
    except BaseException as error:
        clip.path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(f"{clip.name}: the server could not store it: {error.strerror}") from None
        raise
    if not size:
        raise UserError(f"{clip.name}: the file is empty; choose another")
    clip.has_arrived = True


def _mb(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.0f} MB"
