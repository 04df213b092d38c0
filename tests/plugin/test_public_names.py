"""`from yumad import Subnet` is quick and does nothing else (AXON R42)."""

import subprocess
import sys
import time
from pathlib import Path

import yumad


def run(script: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_r42_bare_import_stays_below_50_ms(tmp_path: Path) -> None:
    script = "import time; t = time.perf_counter(); import yumad; print(time.perf_counter() - t)"
    assert min(float(run(script, tmp_path)) for _ in range(3)) < 0.05


def test_r42_author_s_import_takes_less_than_a_second_and_touches_nothing(tmp_path: Path) -> None:
    script = """
import sys
seen = []
def audit(event, args):
    if event.startswith("socket.") and event not in ("socket.__new__",):
        seen.append((event, args))
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        seen.append((event, args))
sys.addaudithook(audit)
from yumad import Subnet, Validator, Ema
print(seen, "argparse" in sys.modules, "yumad.daemon" in sys.modules, "libp2p" in sys.modules)
"""
    began = time.monotonic()
    out = run(script, tmp_path)
    assert out.startswith("[] "), out
    assert out.split()[-2:] == ["False", "False"], out
    assert time.monotonic() - began < 5.0
    timed = "import time; t = time.perf_counter(); from yumad import Subnet; print(time.perf_counter() - t)"
    assert min(float(run(timed, tmp_path)) for _ in range(3)) < 1.0
    assert list(tmp_path.iterdir()) == []


def test_every_public_name_is_there() -> None:
    for name in yumad.__all__:
        assert getattr(yumad, name) is not None
    from yumad.plugin import public

    assert {*yumad.__all__} == {*public.__all__, "__version__"}


def test_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(yumad, "Dendrite")
