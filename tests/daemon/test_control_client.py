"""The control client of commands whose answer may take longer than a read of the state."""

from __future__ import annotations

import socket
from pathlib import Path

from yumad.daemon.control_client import REPLY_TIMEOUT, ControlClient


def test_reply_is_waited_for_as_long_as_the_call_may_take() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        client = ControlClient(ours, Path("home"))
        assert client.reply_timeout == REPLY_TIMEOUT
        for number, expected in ((1, REPLY_TIMEOUT), (2, 100.0)):
            client.reply_timeout = expected
            theirs.sendall(b'{"id": %d, "result": "late"}\n' % number)
            assert client.call("axon.forward") == "late"
            assert ours.gettimeout() == expected
