"""Request handlers of the page's API: the model, and the jobs of the browser's session."""

import asyncio
import json
import re
import secrets
from concurrent.futures import Future
from typing import Any, Protocol

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response

from merc.runtime.errors import UserError
from merc.serve.web import uploads
from merc.serve.web.examples import HINT, ExampleDialogue
from merc.serve.web.jobs import JobQueue, PageJob
from merc.serve.web.quotas import Client, network_of

COOKIE = "merc"
COOKIE_BYTES = 32
COOKIE_FORM = re.compile(r"[A-Za-z0-9_-]{43}")  # of secrets.token_urlsafe(COOKIE_BYTES); no other is one
MAX_BODY_BYTES = 4_000_000
# The page asks "?wait", and is answered when its conversation has been read, or else after this time: it need not
# ask often to hear of it at once. Longer the more conversations are ahead
HOLD_SECONDS, MAX_HOLD_SECONDS = 0.25, 2.0
JOB_GONE = "this result is no longer here: it was deleted after a while without use; read the clips again"


class PageModel(Protocol):
    """Interface of the predictor for the page (merc/serve/web/model.py)."""

    about: dict[str, Any]

    def read(self, job: PageJob) -> Any: ...
    def view(self, dialogue: Any) -> list[dict[str, Any]]: ...
    def answer(self, dialogue: Any, hide: tuple[str, ...]) -> list[dict[str, Any]]: ...
    def explain(self, dialogue: Any, number: int, hide: tuple[str, ...]) -> dict[str, Any]: ...
    def picture(self, dialogue: Any, number: int, whole: bool) -> bytes: ...
    def subtitles(self, dialogue: Any, rows: list[dict[str, Any]]) -> str: ...
    def close(self) -> None: ...


class PageHandlers:
    """The handlers; each that takes a job checks that it belongs to the session."""

    def __init__(self, model: PageModel, desk: JobQueue, examples: dict[str, ExampleDialogue]) -> None:
        self.model, self.desk, self.examples = model, desk, examples

    async def about(self, request: Request) -> Response:
        examples = [
            {"name": example.name, "title": example.title, "clips": len(example.clips)}
            for example in self.examples.values()
        ]
        limits = vars(self.desk.limits)
        content = {"model": self.model.about, "examples": examples, "hint": HINT, "limits": limits}
        return with_session(request, JSONResponse(content))

    async def open(self, request: Request) -> Response:
        order = uploads.parse_order(await _body(request), self.desk.limits)
        client = Client(_session(request), network_of(request.client.host if request.client else ""))
        if order.example is not None:
            if order.example not in self.examples:
                raise HTTPException(404, "there is no such example")
            job = self.desk.open_example(client, self.examples[order.example].clips, cut=False)
            self.desk.start(job)
        elif order.clips:
            clips = [(clip.name, clip.text, clip.speaker, clip.size) for clip in order.clips]
            job = self.desk.open(client, clips, uploads.CUT_ARGUMENTS[order.cut])
        else:
            raise UserError("no clip was chosen")
        return JSONResponse({"job": job.name}, 201)

    async def upload(self, request: Request) -> Response:
        job, number = self._job(request), request.path_params["number"]
        if job.state != "open" or number >= len(job.clips) or job.clips[number].path.exists():
            raise HTTPException(409, "this clip is not waited for")
        try:
            uploads.check_length(job.clips[number], request.headers.get("content-length"))
            await uploads.receive_clip(job, job.clips[number], request.stream())
        except (UserError, ClientDisconnect):
            self.desk.forget(job)
            raise
        return JSONResponse({}, 201)

    async def start(self, request: Request) -> Response:
        job = self._job(request)
        if job.state != "open" or not all(clip.has_arrived for clip in job.clips):
            raise HTTPException(409, "not all clips have arrived")
        self.desk.start(job)
        return JSONResponse({}, 202)

    async def state(self, request: Request) -> Response:
        job = self._job(request)
        if "wait" in request.query_params and job.state in ("waiting", "reading"):
            hold = min(HOLD_SECONDS * (1 + self.desk.num_before(job)), MAX_HOLD_SECONDS)
            await asyncio.wait([asyncio.wrap_future(job.over)], timeout=hold)
        progress = {"state": job.state, "step": job.step, "share": job.progress, "error": job.error}
        return JSONResponse(progress | {"ahead": self.desk.num_before(job)})

    async def dialogue(self, request: Request) -> Response:
        job = self._ready(request)
        rows = await self._rows(request, job)
        return JSONResponse({"rows": rows, "view": self.model.view(job.dialogue), "hidden": self._hidden(request)})

    async def explanation(self, request: Request) -> Response:
        job, number, hide = self._ready(request), request.path_params["number"], self._hidden(request)
        if number >= len(job.dialogue):
            raise HTTPException(404, "there is no such utterance")
        if (number, hide) not in job.explanations:
            future = self.desk.explain(job, self.model.explain, job.dialogue, number, hide)
            job.explanations[number, hide] = await _while_asked(request, job, future)
        return JSONResponse(job.explanations[number, hide])

    async def picture(self, request: Request) -> Response:
        job, number = self._ready(request), request.path_params["number"]
        whole = "whole" in request.query_params
        is_there = number < len(job.dialogue)
        content = is_there and await _result(self.desk.submit(self.model.picture, job.dialogue, number, whole))
        if not content:
            raise HTTPException(404, "there is no picture")
        return Response(content, media_type="image/jpeg", headers={"cache-control": "private, max-age=600"})

    async def clip(self, request: Request) -> Response:
        """A clip of an example; uploads are deleted after reading, and the browser plays its own copy of them."""
        job, number = self._job(request), request.path_params["number"]
        if job.is_uploaded or number >= len(job.clips):
            raise HTTPException(404, "there is no such clip")
        return FileResponse(job.clips[number].path, media_type="video/mp4")

    async def answers(self, request: Request) -> Response:
        content = json.dumps(await self._rows(request, self._ready(request)), indent=2, ensure_ascii=False)
        return _download(content + "\n", "application/json", "emotions.json")

    async def subtitles(self, request: Request) -> Response:
        job = self._ready(request)
        rows = await self._rows(request, job)
        content = await _result(self.desk.submit(self.model.subtitles, job.dialogue, rows))
        return _download(content, "application/x-subrip; charset=utf-8", "emotions.srt")

    async def forget(self, request: Request) -> Response:
        self.desk.forget(self._job(request))
        return Response(status_code=204)

    async def _rows(self, request: Request, job: PageJob) -> list[dict[str, Any]]:
        return await _result(self.desk.submit(self.model.answer, job.dialogue, self._hidden(request)))

    def _hidden(self, request: Request) -> tuple[str, ...]:
        """Modalities to hide, from the query, in the model's order."""
        hidden = [name for name in request.query_params.get("hide", "").split(",") if name]
        modalities = self.model.about["modalities"]
        if unknown := [name for name in hidden if name not in modalities]:
            raise UserError(f"hide = {unknown[0][:40]!r}: choose from {', '.join(modalities)}")
        return tuple(name for name in modalities if name in hidden)

    def _job(self, request: Request) -> PageJob:
        job = self.desk.find(_session(request), request.path_params["job"])
        if job is None:
            raise HTTPException(404, JOB_GONE)
        return job

    def _ready(self, request: Request) -> PageJob:
        """The request's job, once its clips have been read."""
        job = self._job(request)
        if job.state != "ready":
            raise HTTPException(409, "the clips are not read yet")
        return job


async def _result(future: Future[Any] | asyncio.Future[Any]) -> Any:
    """Wait for a result; answer 503 if the server stops first."""
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        raise HTTPException(503, "merc stops; start it again in the terminal") from None


async def _while_asked(request: Request, job: PageJob, future: Future[Any]) -> Any:
    """Wait for an explanation; drop it as soon as its client has gone or its job is forgotten."""
    result, gone = asyncio.wrap_future(future), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((result, gone), return_when=asyncio.FIRST_COMPLETED)
        if not result.done():
            raise ClientDisconnect
        if result.cancelled() and job.is_forgotten:
            raise HTTPException(404, JOB_GONE)
        return await _result(result)
    finally:
        gone.cancel()
        result.cancel()


async def _gone(request: Request) -> None:
    """Return when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _cookie(request: Request) -> str:
    """The session's secret, from a cookie that is random and not accessible to scripts (httponly); else empty."""
    session = request.cookies.get(COOKIE, "")
    return session if COOKIE_FORM.fullmatch(session) else ""


def _session(request: Request) -> str:
    session = _cookie(request)
    if not session:
        raise HTTPException(403, "cookies are off in this browser, or the page was not opened from here")
    return session


def with_session(request: Request, response: Response) -> Response:
    """Set the session's cookie if the browser has none."""
    if not _cookie(request):
        secret = secrets.token_urlsafe(COOKIE_BYTES)
        response.set_cookie(COOKIE, secret, httponly=True, samesite="strict", path="/")
    return response


async def _body(request: Request) -> bytes:
    content = bytearray()
    async for chunk in uploads.punctual(request.stream()):
        content += chunk
        if len(content) > MAX_BODY_BYTES:
            raise uploads.UploadTooLarge("the request is too long")
    return bytes(content)


def _download(content: str, media_type: str, name: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=media_type, headers=headers)
