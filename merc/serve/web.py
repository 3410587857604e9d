"""The page's server: a few files, the handlers, and a folder that lives as long as the server does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from merc.problem import Problem
from merc.serve import uploads
from merc.serve.examples import Example
from merc.serve.guard import Guard
from merc.serve.handlers import Model, Page, with_session
from merc.serve.jobs import UNEXPECTED, Desk, Limits

PAGE = Path(__file__).parent / "page"
FILES = {  # every file that can be had by name, and nothing else
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript; charset=utf-8") for name in ("page", "talk", "draw", "why")},
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
EXPIRY_SECONDS = 5.0


def application(
    model: Model,
    *,
    host: str,
    limits: Limits | None = None,
    examples: dict[str, Example] | None = None,
    base: Path | None = None,
) -> Starlette:
    """The page for a model; its folder is made when the server starts and deleted when it stops."""
    desk = Desk(model.read, limits or Limits(), base)
    page = Page(model, desk, examples or {})

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(_sweep(desk))
        try:
            yield
        finally:
            sweeper.cancel()
            await run_in_threadpool(desk.close)

    own = "/api/jobs/{job}"
    routes = [
        *(Route(path, _file(*file)) for path, file in FILES.items()),
        Route("/api/about", page.about),
        Route("/api/jobs", page.open, methods=["POST"]),
        Route(own, page.state),
        Route(own, page.forget, methods=["DELETE"]),
        Route(own + "/clips/{number:int}", page.upload, methods=["PUT"]),
        Route(own + "/clips/{number:int}", page.clip),
        Route(own + "/start", page.start, methods=["POST"]),
        Route(own + "/dialogue", page.dialogue),
        Route(own + "/explanations/{number:int}", page.explanation),
        Route(own + "/pictures/{number:int}", page.picture),
        Route(own + "/emotions.json", page.answers),
        Route(own + "/emotions.srt", page.subtitles),
    ]
    handlers = {uploads.TooLarge: _too_large, Problem: _problem, HTTPException: _refused, Exception: _unforeseen}
    guard = [Middleware(Guard, host=host)]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers, middleware=guard)
    app.state.desk = desk
    return app


async def _sweep(desk: Desk) -> None:
    while True:
        await asyncio.sleep(EXPIRY_SECONDS)
        with suppress(OSError):
            desk.expire()


def _file(name: str, media_type: str) -> Any:
    content = (PAGE / name).read_bytes()

    async def serve(request: Request) -> Response:
        answer = Response(content, media_type=media_type)
        return with_session(request, answer) if name == "index.html" else answer

    return serve


async def _too_large(request: Request, problem: Exception) -> Response:
    return JSONResponse({"error": str(problem)}, 413)


async def _problem(request: Request, problem: Exception) -> Response:
    return JSONResponse({"error": str(problem)}, 400)


async def _unforeseen(request: Request, error: Exception) -> Response:
    """Starlette raises it again after the answer, so that the terminal shows it."""
    return JSONResponse({"error": UNEXPECTED}, 500)


async def _refused(request: Request, refusal: HTTPException) -> Response:
    return JSONResponse({"error": refusal.detail}, refusal.status_code)
