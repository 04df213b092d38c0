"""Every method of a peer, called through the registry against real rules and state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_peer import FUNDS, SmallPeer
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.rules.v1.calls.call import ArgumentKind
from yumad.consensus.rules.v1.reads import READS
from yumad.consensus.ss58 import encode_address
from yumad.consensus.transaction import encode_transaction, sign_transaction
from yumad.consensus.types import Height, Micros, YumadError
from yumad.daemon.arguments import ArgumentError
from yumad.daemon.node_methods import node_registry
from yumad.daemon.peer_view import PeerEntry
from yumad.daemon.registry import NotFoundError, RefusedError, UnknownMethodError

ALICE, BOB = (encode_address(dev_keypair(name).public_key) for name in ("alice", "bob"))


@pytest.fixture
def peer() -> SmallPeer:
    return SmallPeer()


async def ask(peer: SmallPeer, name: str, params: Any = None) -> Any:
    """The answer as a client gets it: through JSON."""
    return json.loads(json.dumps(await node_registry(peer).find(name).call(params)))


def transfer(peer: SmallPeer, *, nonce: int = 0, amount: int = 5, signer: str = "alice", **fields: int) -> str:
    options = {"valid_until": 50, "tip": 0} | fields
    transaction = sign_transaction(
        peer.transaction_domain,
        dev_keypair(signer),
        nonce=nonce,
        call=0,
        args=[dev_keypair("bob").public_key, amount],
        **options,
    )
    return encode_transaction(transaction).hex()


async def test_status_names_network_heights_and_root(peer: SmallPeer) -> None:
    peer.make_block()
    status = await ask(peer, "status")
    assert (status["network"], status["height"], status["finalised"]) == ("small", 1, 1)
    assert status["state_root"] == peer.blocks[0].block.header.state_root.hex()
    assert status["total_weight"] == str(50 * 10**9), "amounts are strings of rao"


async def test_peers_are_listed_best_first(peer: SmallPeer) -> None:
    peer.connected = [
        PeerEntry(name, "/ip4/1.2.3.4/tcp/5", True, Micros(1), "yumad", Height(3), score, True)
        for name, score in (("bad", -3.0), ("good", 4.0))
    ]
    assert [row["peer_id"] for row in await ask(peer, "peers")] == ["good", "bad"]


async def test_block_is_found_by_height_hash_head_and_final(peer: SmallPeer) -> None:
    kept = peer.make_block()
    answers = [await ask(peer, "block", {"at": at}) for at in (1, "1", kept.hash.hex(), "head", "final")]
    assert [answer["hash"] for answer in answers] == [kept.hash.hex()] * 5
    assert answers[0]["header"]["height"] == 1


@pytest.mark.parametrize(
    ("at", "error"),
    [
        ("0", NotFoundError),
        ("9", NotFoundError),
        ("nowhere", ArgumentError),
        ("-1", ArgumentError),
        ("", ArgumentError),
    ],
)
async def test_block_that_is_not_there_or_named_wrongly_is_an_error(
    peer: SmallPeer, at: str, error: type[YumadError]
) -> None:
    peer.make_block()
    with pytest.raises(error) as caught:
        await ask(peer, "block", {"at": at})
    assert caught.value.remedy


async def test_transaction_goes_from_waiting_to_final_with_its_result(peer: SmallPeer) -> None:
    sent = await ask(peer, "tx.send", {"transaction": transfer(peer)})
    waiting = await ask(peer, "tx.show", {"id": sent["id"]})
    assert (waiting["state"], waiting["call"]) == ("waiting", "balances.transfer_keep_alive")
    assert waiting["args"] == {"dest": BOB, "amount": "5"}
    assert waiting["why"] == "it is ready; 0 transactions come before it"
    peer.make_block()
    final = await ask(peer, "tx.show", {"id": sent["id"]})
    assert (final["state"], final["height"], final["result"], final["code"]) == ("final", 1, "ok", 0)
    assert final["events"][0] == {"event": "Transfer", "from": ALICE, "to": BOB, "amount": "5"}
    block = await ask(peer, "block", {"at": 1})
    assert block["transactions"][0]["id"] == sent["id"]


async def test_transaction_sent_twice_is_no_error(peer: SmallPeer) -> None:
    first = await ask(peer, "tx.send", {"transaction": transfer(peer)})
    again = await ask(peer, "tx.send", {"transaction": transfer(peer)})
    assert (again["id"], again["code"]) == (first["id"], "seen")


async def test_transaction_that_fails_shows_the_errors_name(peer: SmallPeer) -> None:
    sent = await ask(peer, "tx.send", {"transaction": transfer(peer, amount=2 * FUNDS)})
    peer.make_block()
    shown = await ask(peer, "tx.show", {"id": sent["id"]})
    assert (shown["code"], shown["result"]) == (1, "InsufficientBalance")
    assert shown["text"] and shown["fee"] != "0"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"nonce": 16}, "nonce_too_far"),
        ({"valid_until": 0}, "expired"),
        ({"valid_until": 9999}, "future"),
        ({"signer": "nobody"}, "cannot_pay"),
    ],
)
async def test_transaction_that_is_refused_says_why_and_what_to_do(
    peer: SmallPeer, change: dict[str, Any], code: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        await ask(peer, "tx.send", {"transaction": transfer(peer, **change)})
    assert caught.value.code == code
    assert caught.value.remedy


async def test_unknown_transaction_is_not_found(peer: SmallPeer) -> None:
    with pytest.raises(NotFoundError):
        await ask(peer, "tx.show", {"id": "00" * 32})


async def test_context_counts_what_waits_into_the_nonce(peer: SmallPeer) -> None:
    assert (await ask(peer, "tx.context", {"account": ALICE}))["nonce"] == 0
    await ask(peer, "tx.send", {"transaction": transfer(peer)})
    context = await ask(peer, "tx.context", {"account": "dev:alice"})
    assert (context["nonce"], context["free"], context["profile"]) == (1, str(FUNDS), "dev")
    assert "nonce" not in await ask(peer, "tx.context")


async def test_mempool_lists_in_block_order_up_to_the_limit(peer: SmallPeer) -> None:
    for nonce in range(3):
        await ask(peer, "tx.send", {"transaction": transfer(peer, nonce=nonce)})
    document = await ask(peer, "mempool", {"limit": 2})
    assert (document["transactions"], [entry["nonce"] for entry in document["entries"]]) == (3, [0, 1])
    assert document["counts"]["accepted"] == 3


async def test_query_reads_the_final_state_with_amounts_as_strings(peer: SmallPeer) -> None:
    answer = await ask(peer, "query", {"name": "balance", "params": ["dev:alice"]})
    assert answer == {"read": "balance", "height": 0, "answer": str(FUNDS)}
    graph = (await ask(peer, "metagraph", [7]))["answer"]
    assert [member["hotkey"] for member in graph["members"]] == [
        encode_address(dev_keypair(name).public_key) for name in ("authority-hot", "miner")
    ]
    assert graph["members"][0]["stake"] == str(10**12)
    assert (await ask(peer, "epoch_result", {"netuid": 7}))["answer"]["epoch_index"] == 0


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"name": "balanse", "params": []}, "there is no read"),
        ({"name": "balance", "params": []}, "expected 1"),
        ({"name": "balance", "params": ["5Grw"]}, "account"),
        ({"name": "metagraph", "params": [70_000]}, "out of range"),
        ({"name": "metagraph", "params": [True]}, "netuid"),
        ({"name": "metagraph", "params": [1.5]}, "netuid"),
        ({"name": 5.0}, "name"),
        ({"params": []}, "missing"),
        ({"name": "balance", "extra": 1}, "no parameter"),
        ([1, 2, 3], "at most 2"),
        ("balance", "neither"),
    ],
)
async def test_query_with_wrong_parameters_says_what_is_wrong(peer: SmallPeer, params: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        await ask(peer, "query", params)


async def test_query_of_a_subnet_that_does_not_exist_keeps_the_rules_code(peer: SmallPeer) -> None:
    with pytest.raises(YumadError) as caught:
        await ask(peer, "metagraph", {"netuid": 8})
    assert caught.value.code == "SubnetNotExists"


async def test_every_read_answers_under_its_own_name(peer: SmallPeer) -> None:
    samples = {ArgumentKind.ACCOUNT: ALICE, ArgumentKind.U16: 7, ArgumentKind.U8: 0, ArgumentKind.U64: 0}
    samples |= {ArgumentKind.RAO: "1000000000"}
    for read in READS.values():
        values = [0 if a.name == "uid" else samples[a.kind] for a in read.arguments]
        assert (await ask(peer, read.name, values))["read"] == read.name


async def test_unknown_method_names_the_nearest(peer: SmallPeer) -> None:
    with pytest.raises(UnknownMethodError) as caught:
        await ask(peer, "statuss")
    assert caught.value.remedy == "did you mean 'status'?"


async def test_registry_describes_itself_and_every_call(peer: SmallPeer) -> None:
    methods = {method["name"] for method in await ask(peer, "methods")}
    assert {"status", "peers", "block", "tx.send", "tx.show", "query", "metagraph", "mempool", "calls"} <= methods
    calls = {call["name"]: call for call in await ask(peer, "calls")}
    assert calls["weights.set_weights"]["free"]
    assert [a["name"] for a in calls["stake.add_stake"]["arguments"]] == ["hotkey", "netuid", "amount"]


def test_every_read_stands_in_the_control_document() -> None:
    text = (Path(__file__).parents[2] / "docs/control.md").read_text(encoding="utf-8")
    assert [name for name in READS if f"`{name}`" not in text] == []
