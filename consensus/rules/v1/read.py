"""What a read is: a question to a state that is answered with plain values (DESIGN section 5).

Reads are pure and give integers, booleans, texts, None, lists and dictionaries. A value of type bytes is always an
account and becomes SS58 at the edge; other byte strings are hexadecimal texts already. Amounts are integers of rao (or
of the subnet's own unit of 1e-9), prices integers of rao for one alpha.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ...types import InvalidError
from .calls.call import Argument, ArgumentKind
from .stakes import ROOT
from .subnets import subnet_exists

if TYPE_CHECKING:
    from ...state.state import State

Answer: TypeAlias = "int | bool | str | bytes | list[Any] | dict[str, Any] | None"

RAO_PER_TAO: Final = 10**9

ACCOUNT: Final = Argument("account", ArgumentKind.ACCOUNT, "account")
HOTKEY: Final = Argument("hotkey", ArgumentKind.ACCOUNT, "hotkey")
COLDKEY: Final = Argument("coldkey", ArgumentKind.ACCOUNT, "coldkey")
NETUID: Final = Argument("netuid", ArgumentKind.U16, "subnet")
MECHANISM: Final = Argument("mechanism", ArgumentKind.U8, "mechanism")
UID: Final = Argument("uid", ArgumentKind.U16, "neuron")
AMOUNT: Final = Argument("amount", ArgumentKind.RAO, "units of 1e-9")


@dataclass(frozen=True, slots=True)
class Read:
    """One question. `arguments` are positional, in the form of call arguments."""

    name: str
    arguments: tuple[Argument, ...]
    answer: Callable[..., Answer]
    """Called with the state and the arguments."""
    doc: str


def require_subnet(state: State, netuid: int, *, root: bool = False) -> None:
    """Raise InvalidError(SubnetNotExists) unless there is such a subnet."""
    if subnet_exists(state, netuid) and (root or netuid != ROOT):
        return
    error = InvalidError(f"subnet {netuid} does not exist", remedy="`yumad query subnets` lists those there are")
    error.code = "SubnetNotExists"
    raise error


def price_in_rao(price: int) -> int:
    """A U64F64 price as rao for one alpha, floored."""
    return price * RAO_PER_TAO >> 64
