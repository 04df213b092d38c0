"""`yumad genesis`: files in, file out, one clear line when something is wrong."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner
from yumad.consensus.dev_accounts import dev_authority, dev_keypair
from yumad.consensus.ss58 import encode_address
from yumad.daemon.commands.genesis import register
from yumad.daemon.spec_file import encode_authority_record, read_spec_file

DATA = Path(__file__).parents[1] / "data"
SMALL = DATA / "small_chain.toml"


@pytest.fixture
def run():
    app = typer.Typer()
    register(app)
    return lambda *arguments: CliRunner().invoke(app, ["genesis", *map(str, arguments)])


def without_authorities():
    head, _, _ = SMALL.read_text().partition("[[stakes]]")
    return head + "[[subnets]]" + SMALL.read_text().partition("[[subnets]]")[2]


def test_build_writes_a_spec_that_show_reads_back(run, tmp_path):
    built = run("build", SMALL, "-o", tmp_path / "chain.spec", "--json")
    assert built.exit_code == 0, built.output
    shown = run("show", tmp_path / "chain.spec", "--json")
    fields = json.loads(shown.stdout)
    assert fields["genesis_hash"] == json.loads(built.stdout)["genesis_hash"]
    assert read_spec_file(SMALL).genesis_hash.hex() == fields["genesis_hash"]
    assert fields["issuance"] == "9010000000000"


def test_build_takes_authorities_from_records(run, tmp_path):
    (tmp_path / "chain.toml").write_text(without_authorities())
    records = []
    for number in (1, 2):
        path = tmp_path / f"authority{number}.json"
        path.write_bytes(
            encode_authority_record(dev_authority(number, "small", b"\x5e\xed").spec, "small", b"\x5e\xed")
        )
        records += ["--authority-record", path]
    out = tmp_path / "chain.spec"
    built = run("build", tmp_path / "chain.toml", *records, "--authority-stake", "2", "-o", out, "--json")
    assert built.exit_code == 0, built.output
    assert json.loads(built.stdout)["authority_weight"] == "4000000000"
    assert len(read_spec_file(out).spec.authorities) == 2


def test_build_with_a_record_for_another_salt_is_refused(run, tmp_path):
    path = tmp_path / "authority.json"
    path.write_bytes(encode_authority_record(dev_authority(1, "small", b"x").spec, "small", b"x"))
    result = run("build", SMALL, "--authority-record", path, "-o", tmp_path / "chain.spec")
    assert result.exit_code == 1
    assert "salt '78'" in result.stderr
    assert not (tmp_path / "chain.spec").exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b"[" * 4000, b"x" * 5000])
def test_build_with_a_file_that_is_no_record_is_refused(run, tmp_path, content):
    path = tmp_path / "authority.json"
    path.write_bytes(content)
    result = run("build", SMALL, "--authority-record", path, "-o", tmp_path / "chain.spec")
    assert result.exit_code == 1
    assert "authority.json" in result.stderr


def test_build_does_not_replace_a_file_without_force(run, tmp_path):
    out = tmp_path / "chain.spec"
    out.write_text("precious")
    result = run("build", SMALL, "-o", out)
    assert result.exit_code == 1
    assert "--force" in result.stderr
    assert out.read_text() == "precious"
    assert run("build", SMALL, "-o", out, "--force").exit_code == 0


def test_build_sets_time_and_salt(run, tmp_path):
    (tmp_path / "chain.toml").write_text(without_authorities())
    for name in ("one", "two"):
        result = run(
            "build", tmp_path / "chain.toml", "--authorities", 1, "--authority-stake", 5, "--salt", "random",
            "--genesis-time", "+60", "-o", tmp_path / name,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
    one, two = read_spec_file(tmp_path / "one"), read_spec_file(tmp_path / "two")
    assert one.genesis_hash != two.genesis_hash
    assert len(one.spec.salt) == 16


@pytest.mark.parametrize(
    ("option", "value"), [("--genesis-time", "soon"), ("--salt", "xyz"), ("--authority-stake", "1.0000000001")]
)
def test_build_with_a_bad_option_is_a_usage_error(run, tmp_path, option, value):
    result = run("build", SMALL, option, value, "--authorities", 1, "-o", tmp_path / "chain.spec")
    assert result.exit_code == 2


def test_errors_with_json_are_one_document_on_stderr(run, tmp_path):
    result = run("show", tmp_path / "nothing", "--json")
    assert result.exit_code == 1
    error = json.loads(result.stderr)["error"]
    assert error["code"] == "file"
    assert "nothing" in error["message"]
    assert result.stdout == ""


def test_show_of_a_cut_spec_names_the_file(run, tmp_path):
    out = tmp_path / "chain.spec"
    run("build", SMALL, "-o", out)
    out.write_bytes(out.read_bytes()[:-1])
    result = run("show", out)
    assert result.exit_code == 1
    assert "chain.spec is no usable chain spec: truncated" in result.stderr


def test_import_without_a_time_is_a_usage_error(run, tmp_path):
    result = run("import", tmp_path / "snapshot.json", "-o", tmp_path / "chain.spec")
    assert result.exit_code == 2


def test_import_of_a_snapshot_with_another_total_needs_to_be_told(run, tmp_path):
    account = encode_address(dev_keypair("a").public_key)
    (tmp_path / "snapshot.json").write_text(json.dumps({"balances": {account: 5}, "stakes": {}}))
    arguments = ["import", tmp_path / "snapshot.json", "--authorities", 1, "--genesis-time", 1, "-o", tmp_path / "spec"]
    result = run(*arguments)
    assert result.exit_code == 1
    assert "--expect-total" in result.stderr
    assert run(*arguments, "--expect-total", 5).exit_code == 0


def test_import_of_the_real_network_prints_its_golden_hash(run, tmp_path, shared_folder):
    mainnet = shared_folder / "data" / "mainnet"
    result = run(
        "import", mainnet / "finney_genesis_snapshot.json.gz", "--subnet", mainnet / "sn15_metagraph_4769998.npz",
        "--name", "real-test", "--authorities", 4, "--dev", "alice", "--genesis-time", 1_700_000_000_000_000,
        "--salt", "74657374", "-o", tmp_path / "real.spec", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    fields = json.loads(result.stdout)
    assert fields["genesis_hash"].startswith("dc96efa73fac86a6")
    assert fields["subnets"] == [{"netuid": 15, "neurons": 256}]
