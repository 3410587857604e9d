"""The web server's application: routes to the page's files and handlers, with a temporary folder for uploads."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from merc.runtime.errors import UserError
from merc.serve.web import uploads
from merc.serve.web.examples import ExampleDialogue
from merc.serve.web.guard import RequestGuard
from merc.serve.web.handlers import PageHandlers, PageModel, with_session
from merc.serve.web.jobs import UNEXPECTED, JobQueue, PageLimits
from merc.serve.web.processes import give_memory_back
from merc.serve.web.quotas import Busy

PAGE = Path(__file__).parent / "page"
SCRIPTS = ("page", "talk", "draw", "why", "record", "texts")
FILES = {  # URL path -> file and media type: the only files that are served
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript; charset=utf-8") for name in SCRIPTS},
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
EXPIRY_SECONDS = 5.0


def build_application(
    model: PageModel,
    *,
    host: str,
    limits: PageLimits | None = None,
    examples: dict[str, ExampleDialogue] | None = None,
    base: Path | None = None,
) -> Starlette:
    """The application for a model; its folder is created at once and deleted when the server stops."""
    desk = JobQueue(model.read, limits or PageLimits(), base)
    page = PageHandlers(model, desk, examples or {})

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(_sweep(desk))
        try:
            yield
        finally:
            sweeper.cancel()
            await run_in_threadpool(model.close)
            await run_in_threadpool(desk.close)

    job = "/api/jobs/{job}"
    routes = [
        *(Route(path, _file(*file)) for path, file in FILES.items()),
        Route("/api/about", page.about),
        Route("/api/jobs", page.open, methods=["POST"]),
        Route(job, page.state),
        Route(job, page.forget, methods=["DELETE"]),
        Route(job + "/clips/{number:int}", page.upload, methods=["PUT"]),
        Route(job + "/clips/{number:int}", page.clip),
        Route(job + "/start", page.start, methods=["POST"]),
        Route(job + "/dialogue", page.dialogue),
        Route(job + "/explanations/{number:int}", page.explanation),
        Route(job + "/pictures/{number:int}", page.picture),
        Route(job + "/emotions.json", page.answers),
        Route(job + "/emotions.srt", page.subtitles),
    ]
    handlers = {
        UserError: _user_error,
        HTTPException: _http_error,
        ClientDisconnect: _client_gone,
        Exception: _internal_error,
    }
    middleware = [Middleware(RequestGuard, host=host)]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers, middleware=middleware)
    app.state.desk = desk
    return app


async def _sweep(desk: JobQueue) -> None:
    """Forget expired jobs every few seconds, and give their memory back."""
    while True:
        await asyncio.sleep(EXPIRY_SECONDS)
        with suppress(OSError):
            desk.expire()
        await run_in_threadpool(give_memory_back)


def _file(name: str, media_type: str) -> Any:
    content = (PAGE / name).read_bytes()

    async def serve(request: Request) -> Response:
        response = Response(content, media_type=media_type)
        return with_session(request, response) if name == "index.html" else response

    return serve


async def _user_error(request: Request, problem: Exception) -> Response:
    status = 413 if isinstance(problem, uploads.UploadTooLarge) else 429 if isinstance(problem, Busy) else 400
    return JSONResponse({"error": str(problem)}, status)


async def _client_gone(request: Request, error: Exception) -> Response:
    """An answer that nobody gets: a cancelled request is no mistake of the server."""
    return Response(status_code=400)


async def _internal_error(request: Request, error: Exception) -> Response:
    """Answer 500; Starlette raises the error again afterwards, so that the terminal shows it."""
    return JSONResponse({"error": UNEXPECTED}, 500)


async def _http_error(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code)
