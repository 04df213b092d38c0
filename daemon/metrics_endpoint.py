"""The HTTP endpoint that Prometheus scrapes, with the health pages: loopback unless told otherwise, nothing but GET
(DESIGN 8, AXON R25)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from ..consensus.types import YumadError

if TYPE_CHECKING:
    from trio_typing import TaskStatus

MAX_REQUEST: Final = 8192
REQUEST_TIMEOUT: Final = 5.0
MAX_SCRAPERS: Final = 16

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Page:
    """One answer."""

    status: str
    """Number and name, such as "200 OK"."""
    content_type: str
    body: bytes


Pages = Mapping[str, Callable[[], Page]]
"""Further pages by path."""


class MetricsError(YumadError):
    """The endpoint cannot be opened."""

    code = "metrics"
    exit_code = 2


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of `host:port`, `[v6]:port` or `port` (loopback). Raises MetricsError."""
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise MetricsError(f"metrics address is {text!r}", remedy="use host:port, such as 127.0.0.1:9615")
    return host.strip("[]") or "127.0.0.1", int(port)


async def serve_exposition(
    address: str,
    exposition: Callable[[], bytes],
    pages: Pages | None = None,
    *,
    task_status: TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve GET /metrics and `pages` until cancelled; starts with the port in use.

    Raises MetricsError when it cannot listen.
    """
    host, port = parse_address(address)
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        raise MetricsError(
            f"metrics cannot be served at {address}: {error.strerror or error}",
            remedy="end what uses the port, or choose another with --metrics",
        ) from error
    limit = trio.CapacityLimiter(MAX_SCRAPERS)
    async with trio.open_nursery() as nursery:
        handler = partial(_scrape, exposition, pages or {}, limit)
        await nursery.start(partial(trio.serve_listeners, handler, listeners, handler_nursery=nursery))
        task_status.started(listeners[0].socket.getsockname()[1])


async def _scrape(
    exposition: Callable[[], bytes], pages: Pages, limit: trio.CapacityLimiter, stream: trio.SocketStream
) -> None:
    """Answer one request; a client that is slow or writes nonsense is hung up on."""
    with trio.move_on_after(REQUEST_TIMEOUT):
        async with stream:
            try:
                limit.acquire_on_behalf_of_nowait(stream)
            except trio.WouldBlock:
                return
            try:
                await stream.send_all(_response(await _request_line(stream), exposition, pages))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            finally:
                limit.release_on_behalf_of(stream)


async def _request_line(stream: trio.SocketStream) -> bytes:
    head = bytearray()
    while b"\r\n\r\n" not in head and b"\n\n" not in head and len(head) <= MAX_REQUEST:
        received = await stream.receive_some(MAX_REQUEST)
        if not received:
            break
        head += received
    return bytes(head.partition(b"\n")[0])


def _response(request_line: bytes, exposition: Callable[[], bytes], pages: Pages) -> bytes:
    words = request_line.split()
    page = _page(words, exposition, pages)
    lines = (
        f"HTTP/1.1 {page.status}",
        f"Content-Type: {page.content_type}",
        f"Content-Length: {len(page.body)}",
        "Connection: close",
        "\r\n",
    )
    return "\r\n".join(lines).encode() + (b"" if words[:1] == [b"HEAD"] else page.body)


def _page(words: list[bytes], exposition: Callable[[], bytes], pages: Pages) -> Page:
    if len(words) != 3 or words[0] not in (b"GET", b"HEAD"):
        return Page("405 Method Not Allowed", CONTENT_TYPE, b"GET /metrics\n")
    path = words[1].partition(b"?")[0].decode("ascii", "replace")
    if path in ("/metrics", "/"):
        return Page("200 OK", CONTENT_TYPE, exposition())
    make = pages.get(path)
    if make is not None:
        return make()
    known = "".join(f"GET {name}\n" for name in ("/metrics", *pages))
    return Page("404 Not Found", CONTENT_TYPE, known.encode())
