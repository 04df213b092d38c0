"""A small economy that lives at random: valid and invalid calls of the whole table, epochs, and checks after each block.

Arguments are made from the calls' schemas, so a call that joins the table is drawn from then on. They are drawn from
few keys, subnets and amounts that stand near the bounds, so that calls meet each other's effects. All choices come from
one `random.Random`, which is a seed's in long runs and Hypothesis's in the state machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from dev_chain import ADMINS, DevChain, account, dev_spec, packed, subnet
from yumad.consensus.chain_spec import ChainSpec, NeuronSpec
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.profiles import DEV, TAO
from yumad.consensus.rules.checked import checked_rules_for
from yumad.consensus.rules.interface import BlockOutcome
from yumad.consensus.rules.v1.balances import free_balance
from yumad.consensus.rules.v1.calls.call import Argument, ArgumentKind, Call
from yumad.consensus.rules.v1.calls.orders import ORDERS
from yumad.consensus.rules.v1.calls.table import CALLS
from yumad.consensus.rules.v1.errors import error_name
from yumad.consensus.rules.v1.neurons import hotkeys_of
from yumad.consensus.rules.v1.stakes import hotkey_owner, owned_hotkeys, positions_of_coldkey
from yumad.consensus.rules.v1.subnets import netuids, neuron_count, subnet_exists
from yumad.consensus.types import AccountId, Netuid, Rao

COLDKEYS = ("alice", "bob", "carol", "dave")
HOTKEYS_EACH = 2
NAMES = (*COLDKEYS, *(f"{name}/hot-{n}" for name in COLDKEYS for n in range(HOTKEYS_EACH)))
U64 = (1 << 64) - 1
AMOUNTS = (0, 1, 499, 500, 1_999_999, 2_000_000, 2_001_007, 5_000_000, TAO // 10, TAO, 7 * TAO, 300 * TAO, 10**15, U64)


def world_spec(seed: int = 0) -> ChainSpec:
    """Three subnets of different owners with few slots; tempo 10, every delay short."""
    small = replace(
        DEV.hyperparameters,
        max_allowed_uids=5,
        min_allowed_uids=2,
        min_non_immune_uids=1,
        immunity_period=6,
        weights_set_rate_limit=2,
        max_allowed_validators=3,
    )
    subnets = []
    for netuid, owner in enumerate(COLDKEYS[:3], start=1):
        keys = [(f"{name}/hot-0", name) for name in (owner, COLDKEYS[netuid % 4], COLDKEYS[(netuid + 1) % 4])]
        neurons = tuple(
            NeuronSpec(account(hot), account(cold), Rao((40 + 10 * uid) * TAO), 0, 1, uid < 2)
            for uid, (hot, cold) in enumerate(keys)
        )
        parameters = replace(
            small,
            commit_reveal_weights_enabled=netuid == 2,
            liquid_alpha_on=netuid == 3,
            yuma3_on=netuid != 1,
            recycle_or_burn=netuid == 3,
        )
        subnets.append(
            replace(
                subnet(),
                netuid=Netuid(netuid),
                owner_hotkey=account(keys[0][0]),
                owner_coldkey=account(owner),
                tao_reserve=Rao((50 + 100 * netuid) * TAO),
                alpha_reserve=Rao((700 - 200 * netuid) * TAO),
                quote_weight=(3 + netuid) * 10**17,
                moving_price=netuid << 30,
                hyperparameters=parameters,
                neurons=neurons,
            )
        )
    base = dev_spec()
    return replace(
        base,
        salt=seed.to_bytes(8, "big"),
        authorities=(),
        balances=tuple(sorted((account(name), Rao(20_000 * TAO)) for name in COLDKEYS)),
        subnets=tuple(subnets),
    )


class LedgerWorld:
    """One chain with its history of what was tried."""

    def __init__(self, rng: Random, spec: ChainSpec | None = None) -> None:
        self.rng = rng
        self.chain = DevChain(world_spec() if spec is None else spec)
        self.chain.rules = checked_rules_for(1)
        self.results: Counter[tuple[str, str]] = Counter()
        """(call, result) of everything included, and (call, refusal) of what was kept out."""
        self.blocks = 0
        self.epochs = 0

    @property
    def state(self) -> Any:
        """The state after the last block."""
        return self.chain.state

    # --- blocks -------------------------------------------------------------------------------------------------------

    def live(self) -> None:
        """One block, with calls or without."""
        wanted = self.rng.choice((0, 0, 1, 1, 2, 4))
        self.block([self.draw() for _ in range(wanted)])

    def block(self, drawn: list[tuple[str, Call, tuple[Any, ...]]]) -> BlockOutcome:
        """A block that offers these calls; what may not be included is skipped, as a builder does."""
        chain, data = self.chain, []
        nonces: dict[str, int] = {}
        for name, call, args in drawn:
            nonce = nonces.setdefault(name, chain.nonce(name))
            data.append(chain.sign(name, call.name, *args, nonce=nonce))
            nonces[name] += 1
        before = self._fingerprint() if len(drawn) == 1 else None
        _, outcome, skipped = chain.selected(*data)
        for _, reason in skipped:
            self.results["refused", reason] += 1
        included = [call.name for call, at in zip((c for _, c, _ in drawn), data, strict=True) if at in _]
        for name, done in zip(included, outcome.transactions, strict=True):
            self.results[name, error_name(done.code)] += 1
        del before
        self.blocks += 1
        self.epochs += len(outcome.epochs)
        return outcome

    def _fingerprint(self) -> None:
        return None

    # --- draws --------------------------------------------------------------------------------------------------------

    def draw(self) -> tuple[str, Call, tuple[Any, ...]]:
        """(signer's name, call, arguments) of some call."""
        call = self.rng.choice(DRAWN_CALLS)
        signer = self.rng.choice(NAMES if self.rng.random() < 0.3 else _LIKELY[call.signer.value])
        return signer, call, self.arguments(signer, call)

    def arguments(self, signer: str, call: Call) -> tuple[Any, ...]:
        """Arguments that fit the call's schema."""
        if call.name == "admin.execute":
            return self._order()
        self._netuid = self._draw_netuid()
        self._hotkey = self._draw_hotkey(signer)
        return tuple(self._value(signer, argument) for argument in call.arguments)

    def _draw_netuid(self) -> int:
        return self.rng.choice((1, 1, 2, 2, 3, 3, 4, 0, 0, 9, *netuids(self.state)))

    def _draw_hotkey(self, signer: str) -> AccountId:
        """Mostly one of the signer's positions or own hotkeys, sometimes anybody's."""
        key, draw = account(signer), self.rng.random()
        held = [hotkey for netuid, hotkey, _ in positions_of_coldkey(self.state, key) if netuid == self._netuid]
        own = owned_hotkeys(self.state, key)
        if draw < 0.5 and held:
            return self.rng.choice(held)
        if draw < 0.75 and own:
            return self.rng.choice(own)
        return account(self.rng.choice(NAMES))

    def _value(self, signer: str, argument: Argument) -> Any:
        rng, kind, name = self.rng, argument.kind, argument.name
        special = _SPECIAL.get(name)
        if special is not None:
            return special(self, signer, argument)
        if kind is ArgumentKind.ACCOUNT:
            return account(rng.choice(NAMES))
        if kind is ArgumentKind.BOOL:
            return rng.random() < 0.5
        if kind is ArgumentKind.RAO:
            return self._amount(signer)
        if kind is ArgumentKind.U64:
            return rng.choice((0, 1, 7, 10**6, 10**9, U64))
        if kind is ArgumentKind.I64:
            return rng.choice((0, -1, 1, 10**6))
        if kind is ArgumentKind.U16:
            return rng.choice((0, 1, 2, 100, 5_000, 11_796, 65_535))
        if kind is ArgumentKind.U8:
            return rng.choice((0, 0, 0, 1, 2, 255))
        if kind is ArgumentKind.HASH:
            return rng.choice((bytes(32), b"\x01" * 32))
        if kind is ArgumentKind.SIGNATURE:
            return bytes(64)
        if kind is ArgumentKind.BYTES:
            return bytes(rng.randrange(256) for _ in range(rng.choice((0, 1, 8, min(argument.most, 40)))))
        if kind is ArgumentKind.U16_LIST:
            return packed([rng.choice((0, 1, 2, 3)) for _ in range(rng.choice((0, 1, 2, 3)))])
        return _other_value(self, argument)

    def _amount(self, signer: str) -> int:
        """A number near a bound, a part of the balance, or a part of the position drawn before."""
        rng, key = self.rng, account(signer)
        draw = rng.random()
        if draw < 0.35:
            return rng.choice(AMOUNTS)
        held = [
            amount
            for netuid, hotkey, amount in positions_of_coldkey(self.state, key)
            if hotkey == self._hotkey and netuid == self._netuid
        ]
        whole = held[0] if held and draw < 0.8 else free_balance(self.state, key)
        return rng.choice((whole, whole + 1, whole // 2, whole // 10, whole // 1000))

    def _order(self) -> tuple[Any, ...]:
        """An administrative call with plausible values, mostly signed by enough admins."""
        rng, order = self.rng, self.rng.choice(ORDERS)
        values: list[Any] = []
        for name in order.arguments:
            values.append(self._draw_netuid() if name == "netuid" else rng.choice((0, 1, 2, 10, 100, 5_000, 10**6)))
        signed_by = ADMINS[:2] if rng.random() < 0.9 else ADMINS[:1]
        try:
            return self.chain.order(order.name, *values, admins=signed_by)
        except TypeError:
            return self.chain.order("sudo_set_tempo", 1, 10)

    def registered(self, netuid: int) -> list[AccountId]:
        """Hotkeys of a subnet, none for one that does not exist."""
        return hotkeys_of(self.state, netuid) if subnet_exists(self.state, netuid) else []

    def name_of(self, key: bytes) -> str | None:
        """The development name of an account of this world."""
        return _NAME_OF.get(bytes(key))

    def owner_name(self, hotkey: bytes) -> str | None:
        """The development name of a hotkey's owner."""
        owner = hotkey_owner(self.state, hotkey)
        return None if owner is None else self.name_of(owner)


_NAME_OF = {bytes(dev_keypair(name).public_key): name for name in NAMES}

_LIKELY = {
    "coldkey": COLDKEYS,
    "hotkey": tuple(name for name in NAMES if "/" in name),
    "any": NAMES,
}

_FREE_OF_EFFECT = ("authority.",)
"""Families that need authorities, which this world has none of beyond the spec's stakes."""

DRAWN_CALLS = tuple(call for call in CALLS if not call.name.startswith(_FREE_OF_EFFECT))


def _uids(world: LedgerWorld, signer: str, argument: Argument) -> Any:
    count = neuron_count(world.state, world._netuid) if subnet_exists(world.state, world._netuid) else 0
    world._width = world.rng.choice((0, 1, 2, count, count + 1))
    uids = list(range(count + 1))
    world.rng.shuffle(uids)
    return packed(uids[: world._width])


def _values(world: LedgerWorld, signer: str, argument: Argument) -> Any:
    width = getattr(world, "_width", 1) + (world.rng.random() < 0.05)
    return packed([world.rng.choice((0, 1, 100, 65_535)) for _ in range(width)])


_SPECIAL: dict[str, Callable[[LedgerWorld, str, Argument], Any]] = {
    "netuid": lambda world, signer, argument: world._netuid,
    "origin_netuid": lambda world, signer, argument: world._netuid,
    "destination_netuid": lambda world, signer, argument: world._draw_netuid(),
    "hotkey": lambda world, signer, argument: world._hotkey,
    "origin_hotkey": lambda world, signer, argument: world._hotkey,
    "uids": _uids,
    "values": _values,
    "version_key": lambda world, signer, argument: world.rng.choice((0, 0, 0, 1)),
}
"""Arguments that belong together, by name."""


def _other_value(world: LedgerWorld, argument: Argument) -> Any:
    """Kinds with a structure of their own."""
    rng, kind = world.rng, argument.kind
    if kind is ArgumentKind.U64_LIST:
        return [rng.choice((0, 1, 7)) for _ in range(rng.choice((0, 1, 2)))]
    if kind is ArgumentKind.WEIGHT_LISTS:
        return [[packed([0, 1]), packed([1, 2])] for _ in range(rng.choice((0, 1, 2)))]
    return []
