"""A call in a block of its own, compared with the block without it: one that fails leaves its fee and its nonce."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dev_chain import DevChain, account
from yumad.consensus.block import Body
from yumad.consensus.rules.v1.author import author_coldkey
from yumad.consensus.rules.v1.errors import error_name
from yumad.consensus.state.state import State
from yumad.consensus.types import AccountId


def failure(chain: DevChain, name: str, call: str, *args: Any, after: Sequence[bytes] = ()) -> str:
    """Name of the error of a call that changes nothing but fee and nonce; `ok` for one that succeeds.

    `after` are transactions of others that go before it in its block.
    """
    author = author_coldkey(chain.state, chain.context())
    assert author is not None
    before, nonce = chain.state.begin(), chain.nonce(name)
    chain.rules.apply_block(chain.state, chain.context(), Body(None, (), tuple(after)), False)
    columns, balances = columns_but_accounts(chain.state), _balances(chain.state)
    chain.state.rollback(before)
    outcome = chain.block(*after, chain.sign(name, call, *args)).transactions[-1]
    if outcome.code:
        assert columns_but_accounts(chain.state) == columns
        for key, change in ((account(name), -outcome.fee), (author, outcome.fee)):
            balances[key] = balances.get(key, 0) + change
        assert _balances(chain.state) == {key: free for key, free in balances.items() if free}
        assert chain.nonce(name) == nonce + 1
    return error_name(outcome.code)


def columns_but_accounts(state: State) -> dict[str, bytes]:
    """Roots of all columns but those of the accounts."""
    return {r.spec.name: r.root for r in state.columns() if not r.spec.name.startswith("accounts/")}


def _balances(state: State) -> dict[AccountId, int]:
    keys, free = state.array("accounts/key"), state.array("accounts/free").tolist()
    return {AccountId(keys[row].tobytes()): amount for row, amount in enumerate(free) if amount}
