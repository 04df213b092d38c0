"""Every public epoch vector matches in every field, raw intermediates included."""

from pathlib import Path

import pytest
from yumad.daemon.vector_files import check_file, read_records

PUBLIC = ["data/vectors/epoch_public.jsonl.gz", "bench/epoch_cases.jsonl.gz"]
SHIPPED = ["epoch_small.jsonl.gz", "primitives_small.jsonl.gz"]


@pytest.mark.parametrize("name", PUBLIC)
def test_public_epoch_records_all_match(shared_folder: Path, name: str) -> None:
    report = check_file(str(shared_folder / name))
    assert report.differences == {}
    assert report.checked == report.matched == {PUBLIC[0]: 240, PUBLIC[1]: 4}[name]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_records_all_match(repository_root: Path, name: str) -> None:
    report = check_file(str(repository_root / "tests" / "vectors" / name))
    assert report.differences == {}
    assert report.checked == report.matched > 50


def test_shipped_epochs_carry_raw_matrices(repository_root: Path) -> None:
    records = list(read_records(str(repository_root / "tests" / "vectors" / "epoch_small.jsonl.gz")))
    assert sum("ema_bonds" in record.body["raw"] for record in records) == len(records)
    rules = {tag for record in records for tag in record.body["tags"]}
    assert {"yuma2", "yuma3", "liquid_alpha", "unsorted_rows", "parent_child", "commit_reveal"} <= rules
