"""The HTTP row of bench_axon.py: FastAPI on uvicorn, called by aiohttp with keep-alive; bodies are raw and unsigned.

    bench_axon_http.py server
    bench_axon_http.py client ADDRESS

Started by bench_axon.py in an environment of its own, which requirements/bench.txt pins.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Awaitable, Callable

import aiohttp
import uvicorn
from bench_axon_cases import answer_to, run_case
from fastapi import FastAPI, Request, Response


async def serve() -> None:
    """Serve until killed; the first line of output is the address."""
    app = FastAPI()

    @app.post("/echo")
    async def echo(request: Request) -> Response:
        return Response(answer_to(await request.body()), media_type="application/octet-stream")

    listener = socket.socket(
        socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )  # named, or asyncio leaves Nagle on
    listener.bind(("127.0.0.1", 0))
    print(json.dumps({"address": f"http://127.0.0.1:{listener.getsockname()[1]}/echo"}), flush=True)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    await server.serve(sockets=[listener])


class HttpClient:
    """One session with a pool of connections."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64))

    async def call(self, body: bytes) -> bytes:
        """One request."""
        async with self._session.post(self._address, data=body) as answer:
            if answer.status != 200:
                raise ConnectionError(f"status {answer.status}")
            return await answer.read()

    async def close(self) -> None:
        """End all connections."""
        await self._session.close()


async def together(*functions: Callable[[], Awaitable[None]]) -> None:
    """All at the same time."""
    await asyncio.gather(*(function() for function in functions))


async def call(address: str) -> None:
    """Take commands until the input ends."""

    async def connect() -> HttpClient:
        return HttpClient(address)

    client = HttpClient(address)
    loop = asyncio.get_running_loop()
    print("{}", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await run_case(json.loads(line), client, connect, together)), flush=True)
    await client.close()


if __name__ == "__main__":
    asyncio.run(serve() if sys.argv[1] == "server" else call(sys.argv[2]))
