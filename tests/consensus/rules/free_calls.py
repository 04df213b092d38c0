"""Free calls that fail a check: the block with one is invalid and changes nothing (DESIGN section 7, economy)."""

from __future__ import annotations

from typing import Any

from dev_chain import DevChain
from yumad.consensus.types import InvalidError


def refusal(chain: DevChain, name: str, call: str, *args: Any) -> str:
    """Name of the error for which a block with the call is refused; `ok` for a call that succeeds."""
    before = chain.state.root(), chain.height, chain.nonce(name)
    try:
        outcome = chain.send(name, call, *args)
    except InvalidError as error:
        refused = error
    else:
        assert (outcome.code, outcome.fee) == (0, 0), "what fails a check of a free call is kept out"
        return "ok"
    assert refused.code == "precheck", refused.message
    assert (chain.state.root(), chain.height, chain.nonce(name)) == before
    return refused.message.split(": ")[1]
