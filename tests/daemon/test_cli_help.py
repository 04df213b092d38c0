"""`yumad --help` stays quick because it imports nothing heavy (DESIGN 6: at most 0.4 s)."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("numpy", "trio", "nacl", "libp2p", "cbor2", "structlog", "prometheus_client", "sqlite3", "rich")


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from yumad.daemon.main import build_app; build_app(); "
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []


def test_every_command_has_a_help_text() -> None:
    import typer
    from yumad.daemon.main import build_app

    def walk(command: object, path: str) -> list[str]:
        missing = []
        for name, child in getattr(command, "commands", {}).items():
            where = f"{path} {name}"
            if not (child.help or "").strip():
                missing.append(where)
            missing += walk(child, where)
        return missing

    assert walk(typer.main.get_command(build_app()), "yumad") == []
