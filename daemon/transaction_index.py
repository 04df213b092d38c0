"""What the index remembers of final blocks: transactions by id, heights by account (CHAIN 4.4, index.db).

Everything is read from the stored bodies alone, so the file may be deleted and is made again at the next start.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from ..consensus.block import decode_body
from ..consensus.transaction import TransactionDomain, decode_transaction, signing_digest
from ..consensus.types import AccountId, Height
from ..consensus.working_chain import FinalisedBlock
from ..storage.chain import ChainStore
from ..storage.index import IndexedTransaction, IndexStore

_STEP: Final = 256
"""Blocks indexed in one transaction while catching up."""


def index_blocks(index: IndexStore, domain: TransactionDomain, blocks: Sequence[FinalisedBlock]) -> None:
    """Add final blocks, ascending, directly above what is indexed."""
    index.add(blocks[0].header.height, [_rows(domain, decode_body(block.body).transactions) for block in blocks])


def catch_up_index(index: IndexStore, store: ChainStore, domain: TransactionDomain) -> None:
    """Index what became final without it: after a crash, or when the file is new. Pruned bodies are left out."""
    finalised = store.finalised().height
    if index.indexed_to() > finalised:  # the chain folder was replaced by an older one
        index.clear()
    while index.indexed_to() < finalised:
        first = index.indexed_to() + 1
        heights = range(first, min(first + _STEP, finalised + 1))
        bodies = [store.body(Height(height)) for height in heights]
        index.add(Height(first), [_rows(domain, () if body is None else body.transactions) for body in bodies])


def _rows(domain: TransactionDomain, transactions: Sequence[bytes]) -> list[IndexedTransaction]:
    rows = []
    for data in transactions:
        transaction = decode_transaction(data)
        accounts = dict.fromkeys([transaction.signer, *_accounts_in(transaction.args)])
        rows.append(IndexedTransaction(signing_digest(domain, transaction), tuple(accounts)))
    return rows


def _accounts_in(value: Any) -> Iterator[AccountId]:
    """Every 32-byte argument: accounts, and now and then a hash, which does no harm."""
    if isinstance(value, bytes) and len(value) == 32:
        yield AccountId(value)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _accounts_in(item)
