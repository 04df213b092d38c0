"""The lane: consensus and sync finalise the same chain in either order; every block is reported once (CHAIN 1.4)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio
from whole_peers import World, run_virtually, seed_of
from yumad.consensus.block import Block
from yumad.consensus.certificate import Certificate
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.rules.v1.calls.table import call_named
from yumad.consensus.signature import KeyPair
from yumad.consensus.statement import Kind, Statement, signing_digest
from yumad.consensus.transaction import encode_transaction, sign_transaction
from yumad.consensus.types import ZERO_HASH, AccountId, Era, InvalidError, Slot, View
from yumad.daemon.chain_home import standing_point
from yumad.daemon.node import Peer
from yumad.protocols.interfaces import BadBlock

Final = tuple[Block, Certificate]


@dataclass
class Twins:
    """Two peers with the same chain at genesis; the first makes blocks, the second is told of them."""

    maker: Peer
    peer: Peer
    key: KeyPair

    async def make(self, count: int) -> list[Final]:
        """Blocks of era 0, each with the certificate that makes it final."""
        made: list[Final] = []
        working, authorities = self.maker.opened.working, self.authorities
        for number in range(1, count + 1):
            block, _ = working.build(working.head.hash, Slot(number), Era(0), 0, authorities, ())
            statement = Statement(Kind.FINALIZE, Era(0), View(number), View(number - 1), block.hash)
            signature = self.key.sign(signing_digest(self.maker.vote_domain, statement))
            made.append((block, Certificate(statement, (0,), (signature,))))
        return made

    @property
    def authorities(self):  # type: ignore[no-untyped-def]
        return self.maker.driver.engine.context.authorities

    async def reported(self) -> list[int]:
        """Heights in the order in which mempool and index hear of them."""
        heights: list[int] = []
        while len(self.peer._reports):
            heights += [block.header.height for block in (await self.peer._reports.get()).blocks]
        return heights

    @property
    def height(self) -> int:
        return self.peer.opened.store.finalised().height


@pytest.fixture
def twins(tmp_path: Path) -> Callable[[Callable[[Twins], object]], None]:
    """Runs a scenario with two fresh peers of one chain."""

    def run(scenario: Callable[[Twins], object]) -> None:
        async def main() -> None:
            with ExitStack() as stack:
                worlds = [World(tmp_path / name, authorities=1) for name in ("maker", "peer")]
                first, second = (world._build(world.authorities[0], stack) for world in worlds)
                await scenario(Twins(first, second, KeyPair(seed_of("key", "authority-0"))))  # type: ignore[misc]

        run_virtually(main)

    return run


def test_consensus_and_sync_at_once_finalise_each_block_once_and_report_it_in_order(twins) -> None:  # type: ignore[no-untyped-def]
    async def scenario(both: Twins) -> None:
        made = await both.make(5)
        blocks = [block for block, _ in made]
        lane = both.peer.lane
        for block in blocks:
            await lane.execute(block, both.authorities)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lane.apply_final, blocks[:2], made[1][1], both.authorities)
            nursery.start_soon(lane.finalise, [block.hash for block in blocks[:4]], made[3][1])
            nursery.start_soon(lane.apply_final, blocks[:3], made[2][1], both.authorities)
            nursery.start_soon(lane.finalise, [blocks[4].hash], made[4][1])
        assert both.height in (4, 5)  # the last may have come before its parent was final: then it stays pending
        assert await both.reported() == list(range(1, both.height + 1))

    twins(scenario)


def test_execution_that_comes_too_late_or_unwanted_says_nothing(twins) -> None:  # type: ignore[no-untyped-def]
    async def scenario(both: Twins) -> None:
        made = await both.make(3)
        lane = both.peer.lane
        assert await lane.execute(made[0][0], both.authorities) is not None
        assert await lane.execute(made[1][0], both.authorities, is_wanted=lambda: False) is None
        await lane.apply_final([block for block, _ in made], made[2][1], both.authorities)
        assert await lane.execute(made[1][0], both.authorities) is None

    twins(scenario)


def test_range_with_a_block_that_does_not_execute_leaves_f_where_it_was_and_names_the_height(twins) -> None:  # type: ignore[no-untyped-def]
    async def scenario(both: Twins) -> None:
        made = await both.make(3)
        blocks = [block for block, _ in made]
        wrong = Block(replace(blocks[1].header, state_root=ZERO_HASH), blocks[1].body)
        with pytest.raises(BadBlock) as raised:
            await both.peer.lane.apply_final([blocks[0], wrong], made[1][1], both.authorities)
        assert raised.value.height == 2
        assert "state_root" in raised.value.reason
        assert both.height == 0
        assert await both.reported() == []
        await both.peer.lane.apply_final(blocks, made[2][1], both.authorities)
        assert both.height == 3

    twins(scenario)


def test_range_that_f_has_passed_already_changes_nothing(twins) -> None:  # type: ignore[no-untyped-def]
    async def scenario(both: Twins) -> None:
        made = await both.make(3)
        blocks = [block for block, _ in made]
        await both.peer.lane.apply_final(blocks, made[2][1], both.authorities)
        before = standing_point(both.peer.opened.store, both.peer.opened.spec)
        assert await both.peer.lane.apply_final(blocks[:2], made[1][1], both.authorities) == ()
        assert await both.peer.lane.finalise([blocks[0].hash], made[0][1]) == ()
        assert standing_point(both.peer.opened.store, both.peer.opened.spec) == before

    twins(scenario)


def test_finaliser_waits_while_the_reader_is_far_behind(twins) -> None:  # type: ignore[no-untyped-def]
    async def scenario(both: Twins) -> None:
        made = await both.make(6)
        lane, done = both.peer.lane, []

        async def finalise() -> None:
            for block, certificate in made:
                await lane.apply_final([block], certificate, both.authorities)
                done.append(block.header.height)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(finalise)
            await trio.sleep(5)
            assert done == [1, 2, 3, 4]
            await both.peer._reports.get()
            await trio.sleep(5)
            assert done == [1, 2, 3, 4, 5]
            await both.reported()
        assert both.height == 6

    twins(scenario)


def test_block_on_an_unknown_parent_is_refused_and_leaves_the_state_as_it_was(twins) -> None:  # type: ignore[no-untyped-def]
    async def scenario(both: Twins) -> None:
        made = await both.make(2)
        root = both.peer.opened.working.state_at_head().root()
        with pytest.raises(InvalidError, match="is not executed here"):
            await both.peer.lane.execute(made[1][0], both.authorities)
        assert both.peer.opened.working.state_at_head().root() == root

    twins(scenario)


def test_pool_goes_on_seeing_the_final_state_while_the_head_is_ahead(twins) -> None:  # type: ignore[no-untyped-def]
    """A view taken once at a finalisation shared columns with the head, and showed half of what was not final."""

    async def scenario(both: Twins) -> None:
        peer, alice = both.peer, dev_keypair("alice")
        account = AccountId(alice.public_key)
        call = call_named("balances.transfer_keep_alive")
        assert call is not None
        arguments = [dev_keypair("bob").public_key, 5]
        transaction = sign_transaction(
            peer.transaction_domain, alice, nonce=0, valid_until=50, call=call.number, args=arguments
        )
        working = both.maker.opened.working
        block, _ = working.build(
            working.head.hash, Slot(1), Era(0), 0, both.authorities, (encode_transaction(transaction),)
        )
        assert len(block.body.transactions) == 1
        before = await peer.lane.run(lambda: (peer.mempool.next_nonce(account), peer.pool_state.balance(account)))
        await peer.lane.execute(block, both.authorities)
        after = await peer.lane.run(lambda: (peer.mempool.next_nonce(account), peer.pool_state.balance(account)))
        assert before == after
        assert after[0] == 0

    twins(scenario)
