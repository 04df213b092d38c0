"""The call table: every call of rules version 1 by number and by name (DESIGN section 7).

Append-only: a number never changes its meaning under these rules. New families are added as modules with a `CALLS`
tuple.
"""

from __future__ import annotations

from typing import Final

from . import (
    admin,
    authority,
    balances,
    children,
    keys,
    locks,
    neuron,
    root_claims,
    root_network,
    serving,
    stake,
    stake_moves,
    subnet,
    timelocked_weights,
    weight_commits,
    weights,
)
from .call import Call

CALLS: Final[tuple[Call, ...]] = tuple(
    sorted(
        (
            *balances.CALLS,
            *authority.CALLS,
            *neuron.CALLS,
            *weights.CALLS,
            *weight_commits.CALLS,
            *timelocked_weights.CALLS,
            *stake.CALLS,
            *stake_moves.CALLS,
            *children.CALLS,
            *locks.CALLS,
            *root_claims.CALLS,
            *root_network.CALLS,
            *subnet.CALLS,
            *keys.CALLS,
            *serving.CALLS,
            *admin.CALLS,
        ),
        key=lambda call: call.number,
    )
)
"""All calls, ascending by number."""

_BY_NUMBER: Final = {call.number: call for call in CALLS}
_BY_NAME: Final = {call.name: call for call in CALLS}

if len(_BY_NUMBER) != len(CALLS) or len(_BY_NAME) != len(CALLS):
    raise AssertionError("two calls share a number or a name")


def call_numbered(number: int) -> Call | None:
    """The call of that id, or None."""
    return _BY_NUMBER.get(number)


def call_named(name: str) -> Call | None:
    """The call of that name, `family.call`, or None."""
    return _BY_NAME.get(name)
