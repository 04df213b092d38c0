"""Logs are for people: losing them must not cost the peer."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator

import pytest
import structlog
from yumad.daemon.logging import configure_logging, get_logger


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_closed_stream_loses_the_line_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging("info", "json")
    log = get_logger("part")
    log.info("said", height=3)
    stream_text = stream.getvalue()
    stream.close()
    log.info("lost")
    assert '"event": "said"' in stream_text


def test_pipe_without_a_reader_loses_the_line_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", buffering=1) as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        configure_logging("info", "human")
        log = get_logger("part")
        os.close(reader)
        log.info("lost")
        log.error("lost too")
        monkeypatch.undo()
        with pytest.raises(BrokenPipeError):
            stream.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)  # so that closing the stream succeeds


def test_lines_below_the_level_are_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging("warning", "json")
    get_logger("part").info("quiet")
    get_logger("part").warning("loud")
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()
