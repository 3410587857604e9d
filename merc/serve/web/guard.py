"""Middleware that refuses requests of other web pages and under foreign host names, and sets security headers."""

import ipaddress
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
SAFE_METHODS = ("GET", "HEAD")  # methods that change nothing
# Content security policy: only files of this server; blob: are clips that the user chose, held by the browser.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(self), geolocation=()",  # the user is asked all the same
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class RequestGuard:
    """Refuses foreign host names (DNS rebinding) and foreign pages (cross-site request forgery); sets HEADERS."""

    def __init__(self, app: Callable[..., Awaitable[None]], host: str) -> None:
        self.app, self.host = app, host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        app = JSONResponse({"error": refusal}, 403) if refusal else self.app
        await app(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: Headers) -> str:
        """The reason to refuse a request; empty to allow it."""
        host = headers.get("host", "")
        if not self._is_allowed_name(_host_name(host)):
            return f"{host[:80]!r} is not a name of this server"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and method not in SAFE_METHODS:
            return "the request comes from another page"
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            return "the request comes from another page"
        if (origin := headers.get("origin")) is not None and origin not in (f"http://{host}", f"https://{host}"):
            return "the request comes from another page"
        return ""

    def _is_allowed_name(self, name: str) -> bool:
        """Allow names of loopback; on a network any IP address too, since DNS rebinding needs a name."""
        if name in (*LOOPBACK_NAMES, self.host):
            return True
        return not is_loopback(self.host) and _is_address(name)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server on this host."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _host_name(host: str) -> str:
    """Name in a Host header, without the port; empty if the header is malformed."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
