"""What the page may ask: about the model, and about the jobs of its own session."""

import asyncio
import json
import secrets
from concurrent.futures import Future
from typing import Any, Protocol

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response

from merc.problem import Problem
from merc.serve import uploads
from merc.serve.examples import HINT, Example
from merc.serve.jobs import Desk, Job

COOKIE = "merc"
ORDER_BYTES = 4_000_000
GONE = "this result is no longer here: it was deleted after a while without use; read the clips again"


class Model(Protocol):
    """What the page needs of a predictor (merc/serve/showing.py)."""

    about: dict[str, Any]

    def read(self, job: Job) -> Any: ...
    def view(self, dialogue: Any) -> list[dict[str, Any]]: ...
    def answer(self, dialogue: Any, hide: tuple[str, ...]) -> list[dict[str, Any]]: ...
    def explain(self, dialogue: Any, number: int, hide: tuple[str, ...]) -> dict[str, Any]: ...
    def picture(self, dialogue: Any, number: int, whole: bool) -> bytes: ...
    def subtitles(self, dialogue: Any, rows: list[dict[str, Any]]) -> str: ...


class Page:
    """The handlers; every one that names a job first asks whether it is the session's own."""

    def __init__(self, model: Model, desk: Desk, examples: dict[str, Example]) -> None:
        self.model, self.desk, self.examples = model, desk, examples

    async def about(self, request: Request) -> Response:
        examples = [
            {"name": one.name, "title": one.title, "clips": len(one.clips)} for one in self.examples.values()
        ]
        limits = vars(self.desk.limits)
        told = {"model": self.model.about, "examples": examples, "hint": HINT, "limits": limits}
        return with_session(request, JSONResponse(told))

    async def open(self, request: Request) -> Response:
        asked = uploads.order(await _body(request), self.desk.limits)
        session, cut = _session(request), uploads.CUT[asked.cut]
        if asked.example is not None:
            if asked.example not in self.examples:
                raise HTTPException(404, "there is no such example")
            job = self.desk.borrow(session, self.examples[asked.example].clips, cut=False)
            self.desk.start(job)
        elif asked.clips:
            job = self.desk.open(session, [(clip.name, clip.text, clip.speaker) for clip in asked.clips], cut)
        else:
            raise Problem("no clip was chosen")
        return JSONResponse({"job": job.name}, 201)

    async def upload(self, request: Request) -> Response:
        job, number = self._job(request), request.path_params["number"]
        if job.state != "open" or number >= len(job.clips) or job.clips[number].path.exists():
            raise HTTPException(409, "this clip is not waited for")
        try:
            await uploads.receive(job, job.clips[number], request.stream(), self.desk.limits)
        except (Problem, ClientDisconnect):
            self.desk.forget(job)
            raise
        return JSONResponse({}, 201)

    async def start(self, request: Request) -> Response:
        job = self._job(request)
        if job.state != "open" or not all(clip.there for clip in job.clips):
            raise HTTPException(409, "not all clips have arrived")
        self.desk.start(job)
        return JSONResponse({}, 202)

    async def state(self, request: Request) -> Response:
        job = self._job(request)
        told = {"state": job.state, "step": job.step, "share": job.share, "error": job.error}
        return JSONResponse(told | {"ahead": self.desk.ahead(job)})

    async def dialogue(self, request: Request) -> Response:
        job = self._ready(request)
        rows = await self._rows(request, job)
        return JSONResponse({"rows": rows, "view": self.model.view(job.dialogue), "hidden": self._hidden(request)})

    async def explanation(self, request: Request) -> Response:
        job, number, hide = self._ready(request), request.path_params["number"], self._hidden(request)
        if number >= len(job.dialogue):
            raise HTTPException(404, "there is no such utterance")
        if (number, hide) not in job.explanations:
            asked = self.desk.answer(self.model.explain, job.dialogue, number, hide)
            job.explanations[number, hide] = await _awaited(asked)
        return JSONResponse(job.explanations[number, hide])

    async def picture(self, request: Request) -> Response:
        job, number = self._ready(request), request.path_params["number"]
        whole = "whole" in request.query_params
        if number >= len(job.dialogue) or not (content := self.model.picture(job.dialogue, number, whole)):
            raise HTTPException(404, "there is no picture")
        return Response(content, media_type="image/jpeg", headers={"cache-control": "private, max-age=600"})

    async def clip(self, request: Request) -> Response:
        """Of an example; an upload is deleted when it was read, and the browser plays its own copy."""
        job, number = self._job(request), request.path_params["number"]
        if job.own or number >= len(job.clips):
            raise HTTPException(404, "there is no such clip")
        return FileResponse(job.clips[number].path, media_type="video/mp4")

    async def answers(self, request: Request) -> Response:
        content = json.dumps(await self._rows(request, self._ready(request)), indent=2, ensure_ascii=False)
        return _download(content + "\n", "application/json", "emotions.json")

    async def subtitles(self, request: Request) -> Response:
        job = self._ready(request)
        content = self.model.subtitles(job.dialogue, await self._rows(request, job))
        return _download(content, "application/x-subrip; charset=utf-8", "emotions.srt")

    async def forget(self, request: Request) -> Response:
        self.desk.forget(self._job(request))
        return Response(status_code=204)

    async def _rows(self, request: Request, job: Job) -> list[dict[str, Any]]:
        asked = self.desk.answer(self.model.answer, job.dialogue, self._hidden(request))
        return await _awaited(asked)

    def _hidden(self, request: Request) -> tuple[str, ...]:
        asked = [name for name in request.query_params.get("hide", "").split(",") if name]
        known = self.model.about["modalities"]
        if unknown := [name for name in asked if name not in known]:
            raise Problem(f"hide = {unknown[0][:40]!r}: choose from {', '.join(known)}")
        return tuple(name for name in known if name in asked)

    def _job(self, request: Request) -> Job:
        job = self.desk.of(_session(request), request.path_params["job"])
        if job is None:
            raise HTTPException(404, GONE)
        return job

    def _ready(self, request: Request) -> Job:
        job = self._job(request)
        if job.state != "ready":
            raise HTTPException(409, "the clips are not read yet")
        return job


async def _awaited(asked: Future[Any]) -> Any:
    """The answer; if the server stops before there is one, a sentence."""
    try:
        return await asyncio.wrap_future(asked)
    except asyncio.CancelledError:
        raise HTTPException(503, "merc stops; start it again in the terminal") from None


def _session(request: Request) -> str:
    """What tells one browser from another; unguessable, and out of the page's own scripts' reach."""
    session = request.cookies.get(COOKIE, "")
    if not session:
        raise HTTPException(403, "cookies are off in this browser, or the page was not opened from here")
    return session


def with_session(request: Request, response: Response) -> Response:
    if not request.cookies.get(COOKIE):
        response.set_cookie(COOKIE, secrets.token_urlsafe(32), httponly=True, samesite="strict", path="/")
    return response


async def _body(request: Request) -> bytes:
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > ORDER_BYTES:
            raise uploads.TooLarge("the request is too long")
    return content


def _download(content: str, media_type: str, name: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=media_type, headers=headers)
