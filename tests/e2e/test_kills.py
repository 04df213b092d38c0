"""Peers die at any moment and nothing is lost (issue "done when" 4, short form of `scripts/kill_swarm.py`)."""

from __future__ import annotations

from processes import run_script


def test_five_kills_under_load_lose_nothing_and_fork_nothing() -> None:
    code, report, errors = run_script("kill_swarm.py", "--kills", "5")
    assert code == 0, errors
    assert report["kills"] == 5
    assert (report["lost"], report["forks"], report["wrong_balances"]) == (0, 0, 0)
    assert report["transactions_final"] > 20
    assert report["common_height"] > 10


def test_authorities_away_over_an_era_boundary_stop_finality_and_it_resumes() -> None:
    code, report, errors = run_script("pause_swarm.py", "--away", "6", "--only", "1", "--only", "4")
    assert code == 0, errors
    assert [(entry["how"], entry["away"], entry["at_boundary"]) for entry in report["rounds"]] == [
        ("SIGSTOP", 2, True),
        ("SIGKILL", 4, True),
    ]
    for entry in report["rounds"]:
        assert entry["final_while_away"] == 0
    assert (report["lost"], report["forks"], report["wrong_balances"]) == (0, 0, 0)
