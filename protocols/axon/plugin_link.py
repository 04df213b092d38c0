"""One connection between a peer and a plugin: requests in both directions, each with streams of messages (AXON R24).

Both sides use this class; they differ in the parity of their ids and in the limits they set. Everything is bounded:
requests that are open, bytes that wait to be written, messages that nobody has read (by credit), what is read a second.
Whatever breaks a bound ends the link, never the process: `run` returns and `reason` says why.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import trio

from ...consensus.types import MalformedError, YumadError
from ..limits import Quota
from ..token_bucket import TokenBucket
from .interfaces import StreamAborted
from .plugin_wire import Frame, FrameBuffer, FrameKind, encode_frame
from .status import Status

if TYPE_CHECKING:
    from trio_typing import TaskStatus

WINDOW: Final = 256 * 1024
"""Bytes of messages that may be on their way in one direction of one exchange."""

_REPORTED: Final = WINDOW // 2
"""Bytes that a reader has taken before it grants new ones. A larger message needs no more than this either, and goes
into debt: were it to wait for the whole window, it would wait for bytes that the reader has not reported."""

MESSAGE_COST: Final = 64
"""Bytes of credit a message takes beside its own: what it costs to hold one, so that empty ones are bounded too."""

WRITE_TIMEOUT: Final = 15.0
"""Seconds the other side may take to read one WRITE_BYTES; then it counts as not reading."""

FRAME_ITEMS: Final = 80
"""What a frame costs beside its items: a task, a look-up, an answer."""

_WRITE_BYTES: Final = 256 * 1024
_READ_BYTES: Final = 256 * 1024

_WAITING_BYTES: Final = 32 << 20
"""Bytes that wait to be written before senders wait."""

_MOST_BYTES: Final = 64 << 20
"""Bytes that wait at most, with the answers and errors that nobody waits for."""

_MOST_TEXT: Final = 2000


class LinkClosedError(YumadError):
    """The other side is gone, or was dropped."""

    code = "link_closed"


class RemoteError(YumadError):
    """The other side refused a request; `code` is its own."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """What one side grants the other."""

    open_requests: int = 256
    """Requests of the other side at one time; more are answered with the error `busy`."""
    items_per_second: int = 200_000
    """Items of frames that are read, and FRAME_ITEMS for each frame: a bound on the time that reading takes. The rest
    waits in the socket."""
    bytes_per_second: int = 256 << 20
    """The same for their bytes."""
    write_timeout: float = WRITE_TIMEOUT


class Exchange:
    """One request, its answer, and the messages of both sides."""

    def __init__(self, link: PluginLink, number: int, method: str, body: Any) -> None:
        self.method = method
        self.body = body
        """Of the request."""
        self.scope = trio.CancelScope()
        """Cancelled when the side that asked takes the request back."""
        self._link, self._number = link, number
        self._inbox: deque[bytes] = deque()
        self._end: tuple[Status, str] | None = None
        self._ended_here = False
        self._granted = WINDOW
        self._unreported = 0
        self._credit = WINDOW
        self._answer: tuple[bool, Any] | None = None
        self._changed = trio.lowlevel.ParkingLot()

    async def send(self, message: bytes) -> None:
        """Send one message; waits for credit. Raises LinkClosedError, and StreamAborted when the request has ended."""
        cost = len(message) + MESSAGE_COST
        while self._credit < min(cost, _REPORTED):
            self._check_open()
            await self._changed.park()
        self._check_open()
        self._credit -= cost
        await self._link.send(Frame(self._number, FrameKind.MESSAGE, body=message))

    async def end(self, status: Status = Status.OK, text: str = "") -> None:
        """No more messages from here. Once is enough."""
        if not self._ended_here and self._answer is None:
            self._ended_here = True
            body = None if status is Status.OK else [int(status), text[:_MOST_TEXT]]
            await self._link.send(Frame(self._number, FrameKind.END, body=body))

    def messages(self) -> AsyncIterator[bytes]:
        """The other side's messages. Raises StreamAborted unless they end well."""
        return _Messages(self)

    async def next_message(self) -> bytes | None:
        """The next message of the other side; None after the last. Raises StreamAborted."""
        while not self._inbox:
            if self._end is not None:
                if self._end[0] is not Status.OK:
                    raise StreamAborted(*self._end)
                return None
            if self._answer is not None or self._link.is_closed:
                raise StreamAborted(Status.STREAM_ABORTED, "the stream was cut")
            await self._changed.park()
        message = self._inbox.popleft()
        self._unreported += len(message) + MESSAGE_COST
        if self._unreported >= _REPORTED and self._end is None:
            self._granted += self._unreported
            self._link.post(Frame(self._number, FrameKind.CREDIT, body=self._unreported))
            self._unreported = 0
        return message

    async def answer(self) -> Any:
        """The body of the reply, for the side that asked. Raises RemoteError or LinkClosedError."""
        while self._answer is None:
            if self._link.is_closed:
                raise self._link.closed_error()
            await self._changed.park()
        good, body = self._answer
        if not good:
            raise RemoteError(*body)
        return body

    @property
    def is_answered(self) -> bool:
        """The reply or an error has come."""
        return self._answer is not None

    def _check_open(self) -> None:
        if self._link.is_closed:
            raise self._link.closed_error()
        if self._answer is not None or self._ended_here:
            raise StreamAborted(Status.STREAM_ABORTED, "the request has ended")

    # --- what the link tells -------------------------------------------------------------------------------------

    def take_message(self, message: object) -> None:
        """A MESSAGE frame. Raises MalformedError for more than was granted."""
        if not isinstance(message, bytes) or self._end is not None:
            raise MalformedError("a message is a byte string before the end")
        cost = len(message) + MESSAGE_COST
        if self._granted < min(cost, _REPORTED):
            raise MalformedError("more messages than credit")
        self._granted -= cost
        self._inbox.append(message)
        self._changed.unpark_all()

    def take_end(self, body: object) -> None:
        """An END frame."""
        if self._end is not None:
            raise MalformedError("a stream ends once")
        self._end = (Status.OK, "") if body is None else _cut(body)
        self._changed.unpark_all()

    def take_credit(self, count: object) -> None:
        """A CREDIT frame."""
        if type(count) is not int or not 0 < count <= _MOST_BYTES:
            raise MalformedError("credit is a number of bytes")
        self._credit = min(self._credit + count, WINDOW)
        self._changed.unpark_all()

    def take_answer(self, good: bool, body: object) -> None:
        """A REPLY or ERROR frame."""
        self._answer = (good, body if good else _refusal(body))
        self._changed.unpark_all()

    def wake(self) -> None:
        """The link has closed."""
        self._changed.unpark_all()


class _Messages:
    """A plain iterator: a generator that is left early would have to be closed by everybody who uses it."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __aiter__(self) -> _Messages:
        return self

    async def __anext__(self) -> bytes:
        message = await self._exchange.next_message()
        if message is None:
            raise StopAsyncIteration
        return message


Serve = Callable[[Exchange], Awaitable[Any]]
"""Answers a request of the other side: returns the reply's body, or raises YumadError for an ERROR frame."""

Notified = Callable[[str, Any], None]


class PluginLink:
    """The connection. `run` reads and writes; the other methods are for tasks beside it."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        serve: Serve,
        *,
        is_plugin: bool,
        limits: LinkLimits = LinkLimits(),
        on_notify: Notified = lambda method, body: None,
        on_fault: Callable[[str, BaseException], None] = lambda method, error: None,
        buffer: FrameBuffer | None = None,
        last_heard: int = 0,
    ) -> None:
        """`on_fault` is told of errors in `serve` that are no refusals. `buffer` and `last_heard`: what was read of the
        stream, and the last id in it, when somebody has greeted before."""
        self._stream, self._serve, self._limits = stream, serve, limits
        self._on_notify, self._on_fault = on_notify, on_fault
        self._next = 1 if is_plugin else 2
        self._last_heard = last_heard
        self._buffer = buffer or FrameBuffer()
        self._own: dict[int, Exchange] = {}
        self._served: dict[int, Exchange] = {}
        self._out: deque[bytes] = deque()
        self._out_bytes = 0
        self._out_changed = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()
        self.is_closed = False
        self.reason = ""
        """Why the link ended; empty when the other side hung up in order."""

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until either side ends it. Raises nothing of its own; the stream is closed then."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write_all)
                    task_status.started()
                    await self._read_all(nursery)
                    nursery.cancel_scope.cancel()
        finally:
            self.is_closed = True
            for exchange in (*self._own.values(), *self._served.values()):
                exchange.wake()
            self._out_changed.unpark_all()
            self._out.clear()
            await trio.aclose_forcefully(self._stream)

    def drop(self, reason: str) -> None:
        """End the link now."""
        self.reason = self.reason or reason
        self._scope.cancel()

    def closed_error(self) -> LinkClosedError:
        """What waiting requests are told."""
        return LinkClosedError(f"the connection has ended{f': {self.reason}' if self.reason else ''}")

    @property
    def served_requests(self) -> int:
        """Requests of the other side that are not answered yet."""
        return len(self._served)

    async def request(self, method: str, body: Any = None) -> Any:
        """Ask, and wait for the answer. Raises RemoteError, LinkClosedError, FrameTooLargeError."""
        exchange = await self.open(method, body)
        try:
            return await exchange.answer()
        finally:
            self.forget(exchange)

    async def open(self, method: str, body: Any = None) -> Exchange:
        """Ask with streams of messages; `forget` it in a finally. Raises LinkClosedError, FrameTooLargeError."""
        number, self._next = self._next, self._next + 2
        data = encode_frame(Frame(number, FrameKind.REQUEST, method, body))
        await self._room()
        exchange = self._own[number] = Exchange(self, number, method, None)
        self._append(data)
        return exchange

    def forget(self, exchange: Exchange) -> None:
        """The answer is not wanted any more, or has come."""
        number = exchange._number
        if self._own.pop(number, None) is not None and not exchange.is_answered:
            self.post(Frame(number, FrameKind.CANCEL))

    def notify(self, method: str, body: Any) -> None:
        """Tell without an answer."""
        self.post(Frame(0, FrameKind.NOTIFY, method, body))

    async def send(self, frame: Frame) -> None:
        """Write a frame; waits while much is waiting already. Raises LinkClosedError, FrameTooLargeError."""
        data = encode_frame(frame)
        await self._room()
        self._append(data)

    def post(self, frame: Frame) -> None:
        """Write a small frame without waiting; an other side that lets too many pile up is dropped."""
        if not self.is_closed:
            self._append(encode_frame(frame))
            if self._out_bytes > _MOST_BYTES:
                self.drop("it does not read")

    # --- writing -------------------------------------------------------------------------------------------------

    async def _room(self) -> None:
        while self._out_bytes >= _WAITING_BYTES and not self.is_closed:
            await self._out_changed.park()
        if self.is_closed:
            raise self.closed_error()

    def _append(self, data: bytes) -> None:
        self._out.append(data)
        self._out_bytes += len(data)
        self._out_changed.unpark_all()

    async def _write_all(self) -> None:
        while True:
            while not self._out:
                await self._out_changed.park()
            chunk = self._out.popleft()
            if self._out and len(chunk) < _WRITE_BYTES:  # small frames leave together
                parts, size = [chunk], len(chunk)
                while self._out and size + len(self._out[0]) <= _WRITE_BYTES:
                    parts.append(self._out.popleft())
                    size += len(parts[-1])
                chunk = b"".join(parts)
            view = memoryview(chunk)
            for at in range(0, len(view), _WRITE_BYTES):
                try:
                    with trio.fail_after(self._limits.write_timeout):
                        await self._stream.send_all(view[at : at + _WRITE_BYTES])
                except trio.TooSlowError:
                    self.drop("it does not read")
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    self._scope.cancel()
                if self._scope.cancel_called:
                    return
            self._out_bytes -= len(chunk)
            self._out_changed.unpark_all()

    # --- reading -------------------------------------------------------------------------------------------------

    async def _read_all(self, nursery: trio.Nursery) -> None:
        items = TokenBucket(Quota(self._limits.items_per_second, 1), trio.current_time())
        size = TokenBucket(Quota(self._limits.bytes_per_second, 1), trio.current_time())
        try:
            while True:
                while (frame := self._buffer.next()) is not None:
                    self._take(frame, nursery)
                    await _pay(items, self._buffer.items + FRAME_ITEMS)
                data = await self._stream.receive_some(_READ_BYTES)
                if not data:
                    return
                self._buffer.feed(bytes(data))
                await _pay(size, len(data))
        except MalformedError as error:
            self.reason = f"it sent what is no frame of the protocol: {error.message}"
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    def _take(self, frame: Frame, nursery: trio.Nursery) -> None:
        kind, number = frame.kind, frame.id
        if kind is FrameKind.REQUEST:
            self._take_request(frame, nursery)
            return
        if kind is FrameKind.NOTIFY:
            self._on_notify(frame.method, frame.body)
            return
        is_own = number % 2 == self._next % 2
        if (number >= self._next) if is_own else (number > self._last_heard):
            raise MalformedError(f"frame of exchange {number}, which was never opened")
        exchange = (self._own if is_own else self._served).get(number)
        if exchange is None:
            return  # it has just ended on this side
        if kind is FrameKind.MESSAGE:
            exchange.take_message(frame.body)
        elif kind is FrameKind.END:
            exchange.take_end(frame.body)
        elif kind is FrameKind.CREDIT:
            exchange.take_credit(frame.body)
        elif kind is FrameKind.CANCEL:
            if is_own:
                raise MalformedError("only who asked may cancel")
            exchange.scope.cancel()
        elif is_own:
            exchange.take_answer(kind is FrameKind.REPLY, frame.body)
        else:
            raise MalformedError("an answer to no request")

    def _take_request(self, frame: Frame, nursery: trio.Nursery) -> None:
        if frame.id % 2 == self._next % 2 or frame.id <= self._last_heard:
            raise MalformedError(f"request with the id {frame.id} after {self._last_heard}")
        self._last_heard = frame.id
        if len(self._served) >= self._limits.open_requests:
            self._refuse(frame.id, "busy", f"{len(self._served)} requests are open, no more are taken")
            return
        exchange = self._served[frame.id] = Exchange(self, frame.id, frame.method, frame.body)
        nursery.start_soon(self._answer, frame.id, exchange)

    async def _answer(self, number: int, exchange: Exchange) -> None:
        try:
            with exchange.scope:
                await self.send(Frame(number, FrameKind.REPLY, body=await self._serve(exchange)))
        except LinkClosedError:
            pass
        except YumadError as error:
            self._refuse(number, error.code, error.message)
        except Exception as error:  # the other side, or our own fault: one request ends, not the link
            self._on_fault(exchange.method, error)
            self._refuse(number, "internal", f"{exchange.method} failed")
        finally:
            del self._served[number]
            exchange.take_answer(True, None)

    def _refuse(self, number: int, code: str, text: str) -> None:
        self.post(Frame(number, FrameKind.ERROR, body=[code, text[:_MOST_TEXT]]))


async def _pay(bucket: TokenBucket, cost: int) -> None:
    """Take `cost`, and wait until it was there."""
    now = trio.current_time()
    wait = bucket.wait(cost, now)
    bucket.take(cost, now)
    await trio.sleep(wait)


def _refusal(body: object) -> tuple[str, str]:
    if isinstance(body, list) and len(body) == 2 and all(isinstance(part, str) for part in body):
        return body[0][:64], body[1][:_MOST_TEXT]
    raise MalformedError("an error is a code and a text")


def _cut(body: object) -> tuple[Status, str]:
    if isinstance(body, list) and len(body) == 2 and type(body[0]) is int and isinstance(body[1], str):
        try:
            status = Status(body[0])
        except ValueError:
            raise MalformedError(f"status {body[0]} is unknown") from None
        return status if status is not Status.OK else Status.STREAM_ABORTED, body[1][:_MOST_TEXT]
    raise MalformedError("a stream's end is null or a status and a text")
