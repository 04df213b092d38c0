"""Files of the validator's user on their way into stripes, and back.

A file in `inbox` is moved to `taking`, cut into blocks as room is found for them, and removed once every block is held
by enough miners. A name can be used once; a second file of that name stays where it is. `wanted/NAME` asks for a file.
"""

from __future__ import annotations

from pathlib import Path

from keeper import Keeper
from manifest import State, Stripe

Block = tuple[str, int, bytes]
"""File name, offset, data."""


class Inbox:
    """Folders in the validator's store."""

    def __init__(self, store: Path) -> None:
        self._inbox, self._taking, self._wanted, self._restored = (
            store / name for name in ("inbox", "taking", "wanted", "restored")
        )
        for folder in (self._inbox, self._taking, self._wanted, self._restored):
            folder.mkdir(parents=True, exist_ok=True)

    def next_block(self, state: State, size: int) -> Block | None:
        """The next block of at most `size` bytes that is in no stripe yet."""
        for path in sorted(self._inbox.iterdir()):
            if path.is_file() and path.name not in state.files and not path.name.startswith("."):
                path.rename(self._taking / path.name)
        for path in sorted(self._taking.iterdir()):
            offset = state.files.setdefault(path.name, 0)
            with path.open("rb") as file:
                file.seek(offset)
                data = file.read(size)
            if data:
                return path.name, offset, data
        return None

    def settle(self, keeper: Keeper) -> None:
        """After puts, and after a crash: blocks that too few miners took are taken again; whole files are let go."""
        state = keeper.state
        for path in sorted(self._taking.iterdir()):
            offset = 0
            for stripe_id, stripe in blocks_of(state, path.name):
                if stripe.part == offset and len(stripe.live()) >= min(stripe.k + 1, len(state.miners)):
                    offset += stripe.length
                else:
                    keeper.remove(stripe_id)
            state.files[path.name] = offset
            if offset == path.stat().st_size:
                path.unlink()

    def wanted(self, state: State) -> tuple[str, list[str]] | None:
        """A file that is asked for, with its stripes in order, if all of it is stored."""
        for path in sorted(self._wanted.iterdir()):
            blocks = blocks_of(state, path.name)
            whole = sum(stripe.length for _, stripe in blocks) == state.files.get(path.name)
            if whole and not (self._taking / path.name).exists():
                return path.name, [stripe_id for stripe_id, _ in blocks]
        return None

    def restore(self, name: str, data: bytes) -> None:
        """Hand a wanted file over."""
        beside = self._restored / f".{name}"
        beside.write_bytes(data)
        beside.replace(self._restored / name)
        (self._wanted / name).unlink()


def blocks_of(state: State, name: str) -> list[tuple[str, Stripe]]:
    """The stripes of a file, in order."""
    found = [(stripe_id, stripe) for stripe_id, stripe in state.stripes.items() if stripe.name == name]
    return sorted(found, key=lambda item: item[1].part)
