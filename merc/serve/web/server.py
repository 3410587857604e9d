"""What uvicorn does not offer: a time limit for a request's head, and a word when the socket listens.

uvicorn limits the pause between two requests (timeout_keep_alive), but waits for ever for the rest of a head: a
client that sends a byte now and then would keep a connection each (tried on 0.54.0).
"""

import asyncio
import socket
from collections.abc import Callable
from typing import cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0  # from the connection, or a request's first byte, to the end of its head


class PageProtocol(H11Protocol):
    """HTTP/1.1 that closes a connection whose head does not come."""

    head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def _watch_head(self) -> None:
        """Start the timer where a head is waited for; bytes that do not complete it do not start it anew."""
        is_waiting = self.conn.their_state is h11.IDLE
        if is_waiting and self.head_timer is None:
            self.head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)
        elif not is_waiting and self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None


class PageServer(uvicorn.Server):
    """A server that calls `on_ready` once it accepts connections."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.on_ready()
