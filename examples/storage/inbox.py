"""Files of the validator's user on their way into stripes, and back.

A file in `inbox` is cut into blocks as room is found for them, and removed once every block is held by enough miners;
until then it must not be changed. A name can be used once; a second file of that name stays where it is. An empty file
`wanted/NAME` asks for one; it comes into `restored`.
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
        self._inbox, self._wanted, self._restored = (store / name for name in ("inbox", "wanted", "restored"))
        for folder in (self._inbox, self._wanted, self._restored):
            folder.mkdir(parents=True, exist_ok=True)

    def next_block(self, state: State, size: int) -> Block | None:
        """The next block of at most `size` bytes that is in no stripe yet."""
        for path in sorted(self._inbox.iterdir()):
            if path.name.startswith(".") or not path.is_file():
                continue
            if path.name not in state.files:
                state.files[path.name] = 0
                state.taking.append(path.name)
            if path.name in state.taking:
                offset = state.files[path.name]
                with path.open("rb") as file:
                    file.seek(offset)
                    data = file.read(size)
                if data:
                    return path.name, offset, data
        return None

    def settle(self, keeper: Keeper) -> list[str]:
        """After puts, and after a crash: blocks that too few miners took will be taken again.

        Gives the names of files that are stored as a whole, to be removed once the state is saved.
        """
        state, whole = keeper.state, []
        for name in list(state.taking):
            path, offset = self._inbox / name, 0
            for stripe_id, stripe in blocks_of(state, name):
                if path.exists() and stripe.part == offset and len(stripe.live()) > stripe.k:
                    offset += stripe.length
                else:
                    keeper.remove(stripe_id)
            state.files[name] = offset
            if not path.exists():  # taken back by the user
                del state.files[name]
                state.taking.remove(name)
            elif offset == path.stat().st_size:
                state.taking.remove(name)
                whole.append(name)
        return whole

    def remove(self, names: list[str]) -> None:
        """Let go of files that are stored."""
        for name in names:
            (self._inbox / name).unlink(missing_ok=True)

    def wanted(self, state: State) -> tuple[str, list[str]] | None:
        """A file that is asked for, with its stripes in order, if all of it is stored."""
        for path in sorted(self._wanted.iterdir()):
            if path.name not in state.files or path.name in state.taking:
                continue
            blocks = blocks_of(state, path.name)
            if sum(stripe.length for _, stripe in blocks) == state.files[path.name]:
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
