"""The story of the call tour: two subnets live through everything that the call table offers, in chapters.

People are `DEV_NAMES`; the hotkey of alice is `alice/hot`. Calls between two `settle` do not depend on each other, or
are of one signer, whose nonces order them. Alice owns subnet 2, bob subnet 3, and subnet 1 is there from the beginning.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from call_tour_peers import Tour
from yumad.consensus.chain_spec_authorities import possession_digest
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.profiles import TAO
from yumad.consensus.rules.v1.subnets import mechanism_index
from yumad.consensus.rules.v1.weight_commits import commit_hash

ALICES, BOBS = 2, 3
"""Netuids of the new subnets: the lowest that are free."""

U64 = (1 << 64) - 1
ANY_PRICE = 10**15
"""Rao for one alpha that nobody will ever ask."""

PEER_ID = b"\x00\x24" + bytes(range(36))
"""An identity multihash of 36 bytes, as an Ed25519 key has."""

UIDS, VALUES = (1, 2), (40_000, 20_000)

FAILURES = 24
"""Accounts `failure/N` that each make one mistake."""


def tell(tour: Tour) -> None:
    """All chapters in order."""
    balances(tour)
    subnets(tour)
    owners(tour)
    neurons(tour)
    stake(tour)
    moves(tour)
    relations(tour)
    failures(tour)
    weights(tour)
    locks(tour)
    hotkeys(tour)
    commits_and_coldkeys(tour)
    endings(tour)


def packed(values: Any) -> bytes:
    """A u16 list on the wire."""
    return np.asarray(values, dtype="<u2").tobytes()


def balances(tour: Tour) -> None:
    """Purses are filled and emptied."""
    for name in ("purse", "spender", "undecided", "victim", "charlie/hot"):
        tour.send("alice", "balances.transfer_keep_alive", tour.key(name), 10 * TAO)
    for number in range(FAILURES):
        source = ("charlie", "dave")[number % 2]
        tour.send(source, "balances.transfer_keep_alive", tour.key(f"failure/{number}"), 5 * TAO)
    tour.send("beggar", "balances.faucet")
    tour.settle()
    tour.send("purse", "balances.transfer_all", tour.key("eve"), True)
    tour.send("spender", "balances.transfer_allow_death", tour.key("eve"), 9 * TAO)
    tour.send("alice", "subnet.register_network", tour.key("alice/hot"))
    fee = next(sent.fee for sent in tour.settle() if sent.signer == "spender")
    deposit = tour.swarm.spec.spec.existential_deposit
    tour.expect("an emptied purse keeps the existential deposit", tour.free("purse") == deposit)
    tour.expect("a transfer costs its amount and its fee", tour.free("spender") == TAO - fee)
    tour.expect("the faucet gave", tour.free("beggar") == tour.swarm.spec.spec.faucet_amount)


def subnets(tour: Tour) -> None:
    """The second subnet comes with an identity, then both are started."""
    texts = [b"Bob's subnet", b"", b"bob@example.net", b"", b"", b"weather", b"", b""]
    tour.send("bob", "subnet.register_network_with_identity", tour.key("bob/hot"), texts)
    tour.send("alice", "subnet.start_call", ALICES)
    tour.settle()
    tour.expect("alice owns her subnet", tour.read("subnet", ALICES)["owner"] == tour.address("alice"))
    tour.expect("her subnet is started", tour.read("subnet", ALICES)["started"])
    tour.expect("bob's subnet has a name", tour.read("subnet", BOBS)["identity"]["subnet_name"] == "Bob's subnet")
    tour.send("bob", "subnet.start_call", BOBS)


def owners(tour: Tour) -> None:
    """Owners set their parameters, governance some more."""
    tour.send("alice", "subnet.set_tempo", ALICES, 12)
    tour.send("alice", "subnet.set_activity_cutoff_factor", ALICES, 5_000)
    tour.send("alice", "subnet.update_symbol", ALICES, "я".encode())
    tour.send("alice", "identity.set_subnet_identity", ALICES, [b"Alice's subnet", *[b""] * 7])
    tour.send("alice", "subnet.owner_order", *tour.owner_order("sudo_set_max_allowed_uids", ALICES, 16))
    tour.send("alice", "subnet.owner_order", *tour.owner_order("sudo_set_mechanism_count", ALICES, 2))
    for netuid in (ALICES, BOBS):
        tour.send("eve", "admin.execute", *tour.order("sudo_set_weights_set_rate_limit", netuid, 0))
    tour.send("eve", "admin.execute", *tour.order("sudo_set_num_root_claim", 0))
    tour.settle()
    chosen = tour.read("hyperparameters", ALICES)
    tour.expect("the owner's orders count", (chosen["max_allowed_uids"], chosen["mechanism_count"]) == (16, 2))
    tour.expect("governance's orders count", chosen["weights_set_rate_limit"] == 0)
    tour.expect("nobody's root dividends are claimed unasked", tour.read("parameters")["num_root_claim"] == 0)
    tour.expect("the symbol is another", tour.read("subnet", ALICES)["symbol"] == "я")
    split = tour.owner_order("sudo_set_mechanism_emission_split", ALICES, 45_535, 20_000)
    tour.send("alice", "subnet.owner_order", *split)


def neurons(tour: Tour) -> None:
    """Others join, and charlie sits down on root."""
    for netuid in (ALICES, BOBS):
        tour.send("charlie", "neuron.burned_register", netuid, tour.key("charlie/hot"))
    tour.send("dave", "neuron.register_limit", ALICES, tour.key("dave/hot"), 10 * TAO)
    tour.send("eve", "neuron.register", ALICES, 0, 0, b"", tour.key("eve/hot"), tour.key("eve"))
    tour.send("ferdie", "keys.try_associate_hotkey", tour.key("ferdie/hot"))
    tour.send("charlie", "root.root_register", tour.key("charlie/hot"))
    tour.settle()
    members = [member["hotkey"] for member in tour.read("metagraph", ALICES)["members"]]
    wanted = [tour.address(f"{name}/hot") for name in ("alice", "charlie", "dave", "eve")]
    tour.expect("all four have a uid", sorted(members) == sorted(wanted))


def stake(tour: Tour) -> None:
    """Everybody buys, by market and by limit."""
    for name in ("alice", "charlie", "ferdie"):
        for netuid, amount in ((0, 200), (ALICES, 20), (BOBS, 20)):
            tour.send(name, "stake.add_stake", tour.key("charlie/hot"), netuid, amount * TAO)
    tour.send("dave", "stake.add_stake_limit", tour.key("dave/hot"), ALICES, 10 * TAO, ANY_PRICE, True)
    tour.send("eve", "stake.set_coldkey_auto_stake_hotkey", ALICES, tour.key("eve/hot"))
    tour.send("bob", "stake.add_stake", tour.key("bob/hot"), BOBS, 20 * TAO)
    tour.settle()
    tour.send("alice", "subnet.trigger_epoch", ALICES)  # which gives charlie's hotkey its permit


def moves(tour: Tour) -> None:
    """Ferdie sells, moves, swaps, gives away and burns what he bought, until hardly anything is left."""
    hotkey, part = tour.key("charlie/hot"), tour.stake("ferdie", "charlie/hot", ALICES) // 12
    other = tour.stake("ferdie", "charlie/hot", BOBS) // 12
    tour.send("ferdie", "stake.remove_stake", hotkey, ALICES, part)
    tour.send("ferdie", "stake.remove_stake_limit", hotkey, ALICES, part, 1, True)
    tour.send("ferdie", "stake.move_stake", hotkey, tour.key("dave/hot"), ALICES, ALICES, part)
    tour.send("ferdie", "stake.transfer_stake", tour.key("eve"), hotkey, ALICES, ALICES, part)
    tour.send("ferdie", "stake.swap_stake", hotkey, ALICES, BOBS, part)
    tour.send("ferdie", "stake.swap_stake_limit", hotkey, BOBS, ALICES, other, 1, True)
    tour.send("ferdie", "stake.burn_alpha", hotkey, part, ALICES)
    tour.send("ferdie", "stake.recycle_alpha", hotkey, part, ALICES)
    tour.send("ferdie", "stake.add_stake_burn", hotkey, ALICES, TAO, None)
    tour.settle()
    tour.send("ferdie", "stake.remove_stake_full_limit", hotkey, BOBS, None)
    tour.send("ferdie", "stake.unstake_all_alpha", hotkey)
    tour.settle()
    tour.expect("the rest is on root and behind dave's hotkey", tour.staked_on("ferdie") == [0, ALICES])
    tour.send("ferdie", "stake.unstake_all", tour.key("dave/hot"))


def relations(tour: Tour) -> None:
    """Children, takes, and who becomes a parent by itself."""
    hotkey = tour.key("charlie/hot")
    tour.send("charlie", "stake.set_children", hotkey, ALICES, [[U64 // 4, tour.key("dave/hot")]])
    tour.send("charlie", "stake.set_childkey_take", hotkey, ALICES, 5_000)
    tour.send("charlie", "stake.set_auto_parent_delegation_enabled", hotkey, False)
    tour.send("charlie", "stake.decrease_take", hotkey, 5_000)
    tour.send("charlie", "identity.set_identity", [b"Charlie", b"https://example.net", *[b""] * 5])
    tour.settle()
    pending = tour.read("children", hotkey, ALICES)["pending"]
    tour.expect("a child waits", [child["hotkey"] for child in pending["children"]] == [tour.address("dave/hot")])
    tour.expect("the take is lower", int(tour.read("delegate", hotkey)["take"]) == 5_000)
    tour.expect("charlie has a name", tour.read("account", tour.key("charlie"))["identity"]["name"] == "Charlie")
    tour.expect("ferdie kept root stake only", tour.staked_on("ferdie") == [0])


def failures(tour: Tour) -> None:
    """One mistake of each account `failure/N`: included, refused by name, and nothing lost but the fee."""
    charlie, dave = tour.key("charlie/hot"), tour.key("dave/hot")
    nowhere, unknown = 99, tour.key("nobody")
    mistakes: list[tuple[str, str, tuple[Any, ...]]] = [
        ("InsufficientBalance", "balances.transfer_allow_death", (dave, 10**6 * TAO)),
        ("ExistentialDeposit", "balances.transfer_keep_alive", (unknown, 1)),
        ("SubnetNotExists", "stake.add_stake", (charlie, nowhere, TAO)),
        ("AmountTooLow", "stake.add_stake", (charlie, ALICES, 1)),
        ("HotKeyAccountNotExists", "stake.add_stake", (unknown, ALICES, TAO)),
        ("NotEnoughBalanceToStake", "stake.add_stake", (charlie, ALICES, 50 * TAO)),
        ("NotEnoughStakeToWithdraw", "stake.remove_stake_limit", (charlie, ALICES, TAO, 1, True)),
        ("CannotAffordLockCost", "subnet.register_network", (tour.key("failure/hot"),)),
        ("RegistrationNotPermittedOnRootSubnet", "neuron.burned_register", (0, unknown)),
        ("HotKeyAlreadyRegisteredInSubNet", "neuron.burned_register", (ALICES, charlie)),
        ("RegistrationPriceLimitExceeded", "neuron.register_limit", (ALICES, unknown, 1)),
        ("BadOrigin", "subnet.start_call", (ALICES,)),
        ("HotKeyNotRegisteredInNetwork", "identity.set_identity", ([b""] * 7,)),
        ("NotSubnetOwner", "identity.set_subnet_identity", (ALICES, [b""] * 8)),
        ("ColdkeySwapAnnouncementNotFound", "keys.swap_coldkey_announced", (unknown,)),
        ("NonAssociatedColdKey", "keys.swap_hotkey", (charlie, unknown, None)),
        ("InvalidSubnetNumber", "root.claim_root", (b"",)),
        ("InsufficientStakeForLock", "locks.lock_stake", (charlie, ALICES, TAO)),
        ("NoExistingLock", "locks.move_lock", (charlie, ALICES)),
        ("DelegateTakeTooHigh", "stake.increase_take", (charlie, 11_797)),
        ("CannotBurnOrRecycleOnRootSubnet", "stake.burn_alpha", (charlie, 1, 0)),
        ("AdminCallUnknown", "subnet.owner_order", (0xFFFF, [ALICES])),
        ("AdminNonceMismatch", "admin.execute", (0x0F04, [ALICES], U64, U64 >> 1, [])),
        ("SameNetuid", "stake.swap_stake", (charlie, ALICES, ALICES, TAO)),
    ]
    for number, (error, call, args) in enumerate(mistakes):
        tour.send(f"failure/{number}", call, *args, fails=error)
    tour.settle()


def weights(tour: Tour) -> None:
    """Weights in the open, serving, and metadata."""
    tour.send("alice/hot", "weights.set_weights", ALICES, packed(UIDS), packed(VALUES), 0)
    tour.send("alice/hot", "weights.set_mechanism_weights", ALICES, 1, packed(UIDS), packed(VALUES), 0)
    tour.send("charlie/hot", "weights.set_weights", ALICES, packed((0, 2, 3)), packed([65_535] * 3), 0)
    tour.send("bob/hot", "weights.batch_set_weights", packed([BOBS]), [[packed([1]), packed([65_535])]], [0])
    tour.send("charlie/hot", "serving.serve_axon", ALICES, 1, PEER_ID, packed([4]))
    tour.send("dave/hot", "serving.serve_axon_tls", ALICES, 1, PEER_ID, packed([4]), b"\x01" + bytes(32))
    tour.send("eve/hot", "serving.serve_prometheus", ALICES, 1, PEER_ID)
    tour.send("eve/hot", "identity.set_commitment", ALICES, [[1, b"a model of mine"]])
    tour.send("charlie", "stake.increase_take", tour.key("charlie/hot"), 6_000)
    for netuid in (ALICES, BOBS):
        tour.send("eve", "admin.execute", *tour.order("sudo_set_commit_reveal_weights_enabled", netuid, 1))
    tour.settle()
    for mechanism in (0, 1):
        stored = [target for target, _ in tour.read("weights", ALICES, mechanism, 0)]
        tour.expect(f"weights of mechanism {mechanism} are stored", stored == list(UIDS))
    tour.expect("an axon is served", tour.read("axon", tour.key("charlie/hot"), ALICES)["peer_id"] == PEER_ID.hex())
    tour.expect("metadata are published", bool(tour.read("commitment", tour.key("eve/hot"), ALICES)["fields"]))


def locks(tour: Tour) -> None:
    """Alice locks stake; she and charlie decide what becomes of their root dividends."""
    locked = tour.stake("alice", "charlie/hot", ALICES) // 2
    tour.send("alice", "locks.lock_stake", tour.key("charlie/hot"), ALICES, locked)
    tour.send("alice", "locks.set_perpetual_lock", ALICES, True)
    tour.send("alice", "locks.move_lock", tour.key("dave/hot"), ALICES)
    tour.send("alice", "locks.set_reject_locked_alpha", False)
    tour.send("charlie", "root.set_root_claim_type", 1, b"")
    tour.send("alice", "root.set_root_claim_type", 2, packed([ALICES]))
    tour.settle()
    lock = tour.read("lock", tour.key("alice"), ALICES)
    tour.expect(
        "the lock is on dave's hotkey", (int(lock["mass"]), lock["hotkey"]) == (locked, tour.address("dave/hot"))
    )
    tour.expect("the lock stays", lock["perpetual"])


def hotkeys(tour: Tour) -> None:
    """Hotkeys are replaced: dave's everywhere, eve's on one subnet without its stake."""
    tour.send("eve", "keys.swap_hotkey_v2", tour.key("eve/hot"), tour.key("eve/hot-2"), ALICES, True)
    tour.settle()
    tour.send("dave", "keys.swap_hotkey", tour.key("dave/hot"), tour.key("dave/hot-2"), None)
    tour.settle()
    members = [member["hotkey"] for member in tour.read("metagraph", ALICES)["members"]]
    wanted = [tour.address(name) for name in ("alice/hot", "charlie/hot", "dave/hot-2", "eve/hot-2")]
    tour.expect("the new hotkeys have the old ones' uids", sorted(members) == sorted(wanted))


def commits_and_coldkeys(tour: Tour) -> None:
    """Weights are committed and revealed in the next epoch; meanwhile coldkeys are announced, swapped, cleared."""
    heir = hashlib.blake2b(tour.key("heir"), digest_size=32).digest()
    for name in ("ferdie", "undecided", "victim"):
        tour.send(name, "keys.announce_coldkey_swap", heir)
    announced = max(sent.height for sent in tour.settle())
    _commit(tour)
    tour.send("victim", "keys.dispute_coldkey_swap")
    batch = tour.settle()
    tour.send("ferdie", "balances.transfer_keep_alive", tour.key("eve"), TAO, fails="ColdkeySwapAnnounced")
    tour.send("victim", "balances.transfer_keep_alive", tour.key("eve"), TAO, fails="ColdkeySwapDisputed")
    tour.settle()
    tour.send("eve", "admin.execute", *tour.order("sudo_reset_coldkey_swap", tour.key("victim")))
    tour.wait_for_height(announced + 6)
    claimable = _claimable(tour)
    tour.expect("charlie's root stake earned dividends", claimable > 0)
    tour.send("charlie", "root.claim_root", packed([ALICES, BOBS]))
    estate = tour.free("ferdie"), tour.stake("ferdie", "charlie/hot", 0)
    tour.send("undecided", "keys.clear_coldkey_swap_announcement")
    tour.send("ferdie", "keys.swap_coldkey_announced", tour.key("heir"))
    _reveal(tour, max(sent.height for sent in batch if sent.call == "weights.commit_weights"))
    fee = next(sent.fee for sent in tour.settle() if sent.signer == "ferdie")
    inherited = tour.free("heir"), tour.stake("heir", "charlie/hot", 0)
    tour.expect("the heir has ferdie's estate", inherited == (estate[0] - fee, estate[1]) and tour.free("ferdie") == 0)
    tour.expect("a cleared coldkey is free", tour.read("account", tour.key("undecided"))["announced_swap"] is None)
    tour.expect("a reset coldkey is free", tour.read("account", tour.key("victim"))["announced_swap"] is None)
    tour.expect("no commit waits", tour.read("weight_commits", tour.key("alice/hot"), ALICES, 0) == [])


def _claimable(tour: Tour) -> int:
    claims = tour.read("root_claims", tour.key("charlie"))["claims"]
    return sum(int(claim["claimable_alpha"]) for claim in claims if claim["netuid"] == ALICES)


def _revealed(salt: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]:
    return UIDS, VALUES, (salt,), 0


def _hash(tour: Tour, mechanism: int, salt: int) -> bytes:
    return commit_hash(tour.key("alice/hot"), mechanism_index(ALICES, mechanism), *_revealed(salt))


def _commit(tour: Tour) -> None:
    """Just behind an epoch of the subnet, so that all commits fall into one."""
    tour.wait("a new epoch", lambda: int(tour.read("subnet", ALICES)["blocks_to_epoch"]) >= 8)
    tour.send("alice/hot", "weights.commit_weights", ALICES, _hash(tour, 0, 1))
    tour.send("alice/hot", "weights.commit_mechanism_weights", ALICES, 1, _hash(tour, 1, 2))
    tour.send("alice/hot", "weights.batch_commit_weights", packed([ALICES]), [_hash(tour, 0, 3)])
    tour.send("charlie/hot", "weights.commit_timelocked_weights", ALICES, bytes(64), 10**9, 4)
    tour.send("charlie/hot", "weights.commit_timelocked_mechanism_weights", ALICES, 1, bytes(64), 10**9, 4)
    tour.send("charlie/hot", "weights.commit_crv3_mechanism_weights", ALICES, 1, bytes(64), 10**9)


def _reveal(tour: Tour, committed: int) -> None:
    """In the epoch after the commits', which is the only one."""
    after = tour.read("subnet", ALICES)
    epoch = int(after["epoch_index"]) + (committed >= int(after["last_epoch_block"]))
    tour.wait("the epoch of the reveals", lambda: int(tour.read("subnet", ALICES)["epoch_index"]) >= epoch)
    uids, values, _, version_key = _revealed(0)
    vector = packed(uids), packed(values)
    tour.send("alice/hot", "weights.reveal_weights", ALICES, *vector, packed([1]), version_key)
    tour.send("alice/hot", "weights.reveal_mechanism_weights", ALICES, 1, *vector, packed([2]), version_key)
    tour.send("alice/hot", "weights.batch_reveal_weights", ALICES, [[*vector, packed([3]), version_key]])


def endings(tour: Tour) -> None:
    """Charlie's hotkey becomes an authority, and governance dissolves bob's subnet."""
    authority = dev_keypair("charlie/authority")
    proof = authority.sign(possession_digest(tour.genesis, tour.key("charlie/hot")))
    tour.send("charlie/hot", "authority.register", authority.public_key, proof)
    tour.send("eve", "admin.execute", *tour.order("sudo_dissolve_network", BOBS))
    tour.settle()
    tour.expect("bob's subnet is gone", tour.read("chain")["subnets"] == [1, ALICES])
    tour.send("charlie/hot", "authority.heartbeat", PEER_ID)
    tour.settle()
    era = tour.swarm.spec.spec.era_blocks
    tour.wait_for_height((tour.height() // era + 1) * era + 3)
    names = [authority["hotkey"] for authority in tour.read("authorities")]
    tour.expect("charlie's hotkey is an authority, and blocks still become final", tour.address("charlie/hot") in names)
