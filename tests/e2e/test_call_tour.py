"""Every call there is goes through four real peers; they agree and the ledger adds up (`scripts/call_tour.py`)."""

from __future__ import annotations

from processes import run_script


def test_every_call_of_the_table_succeeds_on_four_peers_and_the_ledger_adds_up() -> None:
    code, report, errors = run_script("call_tour.py")
    assert code == 0, errors
    assert report["missing"] == []
    assert report["different_calls_ok"] == report["calls_in_table"]
    assert report["different_errors"] >= 20
    assert report["effects_seen"] >= 30
    assert report["roots_equal"]
    assert report["verified"] >= report["heights"] > 20
    assert report["balances_sum"].isdigit()
    failed = [result for _, _, result in report["calls"] if result != "ok"]
    assert report["calls_sent"] == len(report["calls"]) > len(failed) + report["different_calls_ok"]
