"""An authority under attack keeps its place (issue "done when" 7, short form of `scripts/hostile_swarm.py`)."""

from __future__ import annotations

from processes import run_script


def test_forty_hostile_cases_change_nothing_for_victim_or_swarm() -> None:
    code, report, errors = run_script("hostile_swarm.py", "--cases", "40", "--slot", "2")
    assert code == 0, errors
    assert report["cases"] == 40
    assert report["victim_up"] and report["errors_logged"] == 0
    assert report["rss_after_mb"] - report["rss_before_mb"] < 50
    for category in ("many streams", "connect cycles", "silent sockets", "malformed gossip", "non-UTF-8 protocol"):
        assert category in report["categories"]
    assert any(name.startswith("gossip/") for name in report["drops"])
    assert any(name.startswith("transport_dropped/") for name in report["drops"])
