"""Arguments for any call of the table, drawn so that calls meet each other's effects and stand near their bounds.

Most follow from the argument's kind; arguments that belong together, or that only make sense near a price or a bound,
have a drawer by name.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from dev_chain import ADMINS, DevChain, account, packed
from yumad.consensus.rules.v1.balances import free_balance
from yumad.consensus.rules.v1.calls.call import Argument, ArgumentKind, Call
from yumad.consensus.rules.v1.calls.orders import ORDERS, Order
from yumad.consensus.rules.v1.calls.table import CALLS
from yumad.consensus.rules.v1.coldkey_swap import coldkey_hash
from yumad.consensus.rules.v1.hyperparameters import GLOBAL, SUBNET
from yumad.consensus.rules.v1.markets import spot
from yumad.consensus.rules.v1.owner_limits import OWNER_RIGHTS
from yumad.consensus.rules.v1.stakes import owned_hotkeys, positions_of_coldkey
from yumad.consensus.rules.v1.subnets import mechanism_index, netuids, neuron_count, owner, subnet_exists
from yumad.consensus.rules.v1.symbols import SYMBOLS
from yumad.consensus.rules.v1.takes import delegate_take
from yumad.consensus.rules.v1.weight_commits import commit_hash
from yumad.consensus.types import AccountId

COLDKEYS = ("alice", "bob", "carol", "dave")
HOTKEYS = tuple(f"{name}/hot-{n}" for name in COLDKEYS for n in range(2))
NAMES = (*COLDKEYS, *HOTKEYS)
TAO = 10**9
U64 = (1 << 64) - 1
AMOUNTS = (0, 1, 499, 500, 1_999_999, 2_000_000, 2_001_007, 5_000_000, TAO // 10, TAO, 7 * TAO, 300 * TAO, 10**15, U64)
PEER_ID = b"\x00\x24" + bytes(range(36))

DRAWN_CALLS = tuple(call for call in CALLS if not call.name.startswith("authority."))
"""Authorities have tests of their own; this world's never change."""

_RARE = ("coldkey_swap", "swap_coldkey", "faucet", "register_network")
"""Calls that would change the world too much if they came as often as others."""

_PARAMETERS = {f"sudo_set_{entry.name}": entry for entry in (*SUBNET, *GLOBAL)}

_GENTLE = (
    "tempo",
    "max_epochs_per_block",
    "max_allowed_uids",
    "mechanism_count",
    "reveal_period_epochs",
    "subnet_limit",
)
"""Parameters whose extremes would put the world to sleep: drawn near what they are."""


class CallDraws:
    """Draws calls against the state of a chain; all choices come from `rng`."""

    def __init__(self, rng: Random, chain: DevChain) -> None:
        self.rng = rng
        self.chain = chain
        self._netuid = 1
        self._hotkey = account("alice/hot-0")
        self._width = 0
        self._commits: dict[tuple[str, int], list[tuple[Any, ...]]] = {}
        """By signer and netuid: what was committed and may be revealed."""

    @property
    def state(self) -> Any:
        """The state after the last block."""
        return self.chain.state

    def draw(self) -> tuple[str, Call, tuple[Any, ...]]:
        """(signer's name, call, arguments) of some call."""
        call = self.rng.choice(DRAWN_CALLS)
        while any(word in call.name for word in _RARE) and self.rng.random() < 0.8:
            call = self.rng.choice(DRAWN_CALLS)
        return self.call(call)

    def call(self, call: Call) -> tuple[str, Call, tuple[Any, ...]]:
        """A signer and arguments for this call."""
        self._netuid = self._draw_netuid()
        signer = self._signer(call)
        self._hotkey = self._draw_hotkey(signer)
        if call.name == "admin.execute":
            return signer, call, self._order_of_admins()
        if call.name == "subnet.owner_order":
            return signer, call, self._order_of_owner()
        return signer, call, tuple(self._value(signer, call, argument) for argument in call.arguments)

    # --- who and where ------------------------------------------------------------------------------------------------

    def _draw_netuid(self) -> int:
        return self.rng.choice((1, 1, 2, 2, 3, 3, 0, 9, *netuids(self.state)))

    def _signer(self, call: Call) -> str:
        """Somebody who may succeed, three times out of four."""
        if self.rng.random() < 0.25:
            return self.rng.choice(NAMES)
        if call.name.startswith("subnet.") and subnet_exists(self.state, self._netuid):
            owner_name = _NAME_OF.get(owner(self.state, self._netuid))
            if owner_name is not None:
                return owner_name
        return self.rng.choice(HOTKEYS if call.signer.value == "hotkey" else COLDKEYS)

    def _draw_hotkey(self, signer: str) -> AccountId:
        """Mostly one of the signer's positions or own hotkeys, sometimes anybody's."""
        key, draw = account(signer), self.rng.random()
        held = [hotkey for netuid, hotkey, _ in positions_of_coldkey(self.state, key) if netuid == self._netuid]
        own = owned_hotkeys(self.state, key)
        if draw < 0.5 and held:
            return self.rng.choice(held)
        if draw < 0.75 and own:
            return self.rng.choice(own)
        return account(self.rng.choice(HOTKEYS if draw < 0.97 else NAMES))

    # --- values -------------------------------------------------------------------------------------------------------

    def _value(self, signer: str, call: Call, argument: Argument) -> Any:
        drawer = _BY_NAME.get(argument.name) or _BY_KIND[argument.kind]
        return drawer(self, signer, argument)

    def amount(self, signer: str) -> int:
        """A number near a bound, a part of the balance, or a part of the position drawn before."""
        rng, key = self.rng, account(signer)
        draw = rng.random()
        if draw < 0.3:
            return rng.choice(AMOUNTS)
        held = [
            amount
            for netuid, hotkey, amount in positions_of_coldkey(self.state, key)
            if hotkey == self._hotkey and netuid == self._netuid
        ]
        whole = held[0] if held and draw < 0.8 else free_balance(self.state, key)
        return rng.choice((whole, whole + 1, whole // 2, whole // 10, whole // 1000))

    def price(self) -> int:
        """A limit in rao near the spot price, or at an extreme."""
        if not subnet_exists(self.state, self._netuid):
            return TAO
        now = spot(self.state, self._netuid) * TAO >> 64
        return self.rng.choice((0, 1, now, now + 1, now * 9 // 10, now * 11 // 10, now * 2, U64))

    def count(self) -> int:
        """Neurons of the subnet drawn."""
        return neuron_count(self.state, self._netuid) if subnet_exists(self.state, self._netuid) else 0

    def uids(self) -> list[int]:
        """Some uids of the subnet, one too many now and then."""
        count = self.count()
        self._width = self.rng.choice((0, 1, 2, count, count, count + 1))
        uids = list(range(count + 1)) if self._width > count else list(range(count))
        self.rng.shuffle(uids)
        return uids[: self._width]

    def weights(self) -> list[int]:
        """As many weights as the uids drawn before, seldom one more."""
        width = self._width + (self.rng.random() < 0.03)
        return [self.rng.choice((0, 1, 100, 65_535)) for _ in range(width)]

    def commit(self, signer: str) -> bytes:
        """The hash of weights that the signer will be able to reveal."""
        revealed = (tuple(self.uids()), tuple(self.weights()), (self.rng.randrange(65_536),), 0)
        self._commits.setdefault((signer, self._netuid), []).append(revealed)
        return commit_hash(account(signer), mechanism_index(self._netuid, 0), *revealed)

    def committed(self, signer: str) -> tuple[Any, ...]:
        """Weights that the signer committed to, or some it did not."""
        known = self._commits.get((signer, self._netuid))
        if known and self.rng.random() < 0.9:
            return self.rng.choice(known[-3:])
        return (tuple(self.uids()), tuple(self.weights()), (1,), 0)

    # --- orders -------------------------------------------------------------------------------------------------------

    def _order_of_admins(self) -> tuple[Any, ...]:
        """An administrative call, mostly signed by enough admins."""
        order = self.rng.choice(ORDERS)
        while order.name in ("sudo_dissolve_network", "sudo_reset_coldkey_swap") and self.rng.random() < 0.7:
            order = self.rng.choice(ORDERS)
        signed_by = ADMINS[:2] if self.rng.random() < 0.9 else ADMINS[:1]
        return self.chain.order(order.name, *self._order_values(order), admins=signed_by, valid_until=U64 >> 1)

    def _order_of_owner(self) -> tuple[Any, ...]:
        names = [*OWNER_RIGHTS, "sudo_set_kappa"]
        wanted = self.rng.choice(names)
        order = next(order for order in ORDERS if order.name == wanted)
        return order.number, self._order_values(order)

    def _order_values(self, order: Order) -> list[Any]:
        values: list[Any] = []
        for name in order.arguments:
            if name == "netuid":
                values.append(self._netuid)
            elif name in order.accounts:
                values.append(self._hotkey if name == "hotkey" else account(self.rng.choice(COLDKEYS)))
            else:
                values.append(self._order_value(order))
        return values

    def _order_value(self, order: Order) -> int:
        entry = _PARAMETERS.get(order.name)
        if entry is None:
            return self.rng.choice((0, 1, 2, 3, 1_638, 40_000, 65_535))
        column = f"subnets/{entry.name}" if order.of_subnet else f"global/{entry.name}"
        row = self._netuid if order.of_subnet else 0
        now = int(self.state.read(column, row)) if row < self.state.rows(column) else 0
        if entry.name in _GENTLE:
            return self.rng.choice((now, now + 1, max(now - 1, 1)))
        return self.rng.choice((now, now, now, entry.minimum, entry.minimum - 1, entry.maximum, now + 1, now // 2))


_NAME_OF = {account(name): name for name in NAMES}

Drawer = Callable[[CallDraws, str, Argument], Any]


def _list_of(draws: CallDraws, most: int, item: Callable[[], Any]) -> list[Any]:
    return [item() for _ in range(draws.rng.randrange(most + 1))]


def _texts(draws: CallDraws, signer: str, argument: Argument) -> list[bytes]:
    count = 8 if "subnet" in argument.doc or "eight" in argument.doc else 7
    longest = draws.rng.choice((0, 5, 40, 300))
    return [b"x" * min(longest, 256 if at in (0, 4) else longest) for at in range(count)]


def _children(draws: CallDraws, signer: str, argument: Argument) -> list[Any]:
    named = draws.rng.sample(HOTKEYS, draws.rng.randrange(4))
    return [[draws.rng.choice((1, U64 // 4, U64 // 3, U64)), account(name)] for name in named]


def _fields(draws: CallDraws, signer: str, argument: Argument) -> list[Any]:
    return _list_of(
        draws, 3, lambda: draws.rng.choice(([0, b""], [1, b"raw"], [2, bytes(32)], [7, b""], [8, bytes(500)]))
    )


_BY_NAME: dict[str, Drawer] = {
    "netuid": lambda draws, signer, argument: (
        draws._netuid
        if argument.kind is not ArgumentKind.OPTIONAL_U16
        else draws.rng.choice((None, draws._netuid, draws._netuid))
    ),
    "origin_netuid": lambda draws, signer, argument: draws._netuid,
    "destination_netuid": lambda draws, signer, argument: draws._draw_netuid(),
    "hotkey": lambda draws, signer, argument: draws._hotkey,
    "origin_hotkey": lambda draws, signer, argument: draws._hotkey,
    "destination_hotkey": lambda draws, signer, argument: account(draws.rng.choice(HOTKEYS)),
    "destination_coldkey": lambda draws, signer, argument: account(draws.rng.choice(COLDKEYS)),
    "new_coldkey_hash": lambda draws, signer, argument: coldkey_hash(account(draws.rng.choice(("heir", "dave")))),
    "new_coldkey": lambda draws, signer, argument: account(draws.rng.choice(("heir", "dave", "bob"))),
    "new_hotkey": lambda draws, signer, argument: account(draws.rng.choice((*HOTKEYS, "fresh/hot"))),
    "uids": lambda draws, signer, argument: packed(draws.uids()),
    "values": lambda draws, signer, argument: packed(draws.weights()),
    "version_key": lambda draws, signer, argument: draws.rng.choice((0, 0, 0, 1)),
    "commit_hash": lambda draws, signer, argument: draws.commit(signer),
    "commit_hashes": lambda draws, signer, argument: _list_of(draws, 2, lambda: draws.commit(signer)),
    "limit_price": lambda draws, signer, argument: (
        None if argument.kind is ArgumentKind.OPTIONAL_RAO and draws.rng.random() < 0.5 else draws.price()
    ),
    "limit": lambda draws, signer, argument: draws.rng.choice((0, TAO // 10, TAO, U64)),
    "take": lambda draws, signer, argument: draws.rng.choice(
        (0, 5_000, 11_796, 11_797, max(delegate_take(draws.state, draws._hotkey) - 1, 0))
    ),
    "tempo": lambda draws, signer, argument: draws.rng.choice((9, 10, 10, 12)),
    "factor_milli": lambda draws, signer, argument: draws.rng.choice((999, 1_000, 13_889, 50_001)),
    "claim_type": lambda draws, signer, argument: draws.rng.choice((0, 1, 2, 2, 3)),
    "mechanism": lambda draws, signer, argument: draws.rng.choice((0, 0, 0, 1)),
    "peer_id": lambda draws, signer, argument: draws.rng.choice((PEER_ID, PEER_ID, b"x")),
    "symbol": lambda draws, signer, argument: draws.rng.choice((*SYMBOLS[:40], "?")).encode(),
    "children": _children,
}
"""Arguments that belong together or stand near a bound."""

_BY_KIND: dict[ArgumentKind, Drawer] = {
    ArgumentKind.ACCOUNT: lambda draws, signer, argument: account(draws.rng.choice(NAMES)),
    ArgumentKind.BOOL: lambda draws, signer, argument: draws.rng.random() < 0.5,
    ArgumentKind.RAO: lambda draws, signer, argument: draws.amount(signer),
    ArgumentKind.OPTIONAL_RAO: lambda draws, signer, argument: draws.rng.choice((None, draws.amount(signer))),
    ArgumentKind.OPTIONAL_U16: lambda draws, signer, argument: draws.rng.choice((None, draws._netuid)),
    ArgumentKind.U64: lambda draws, signer, argument: draws.rng.choice((0, 1, 7, 10**6, U64)),
    ArgumentKind.I64: lambda draws, signer, argument: draws.rng.choice((0, -1, 1)),
    ArgumentKind.U16: lambda draws, signer, argument: draws.rng.choice((0, 1, 2, 100, 11_796, 65_535)),
    ArgumentKind.U8: lambda draws, signer, argument: draws.rng.choice((0, 0, 1, 255)),
    ArgumentKind.HASH: lambda draws, signer, argument: draws.rng.choice((bytes(32), b"\x01" * 32)),
    ArgumentKind.SIGNATURE: lambda draws, signer, argument: bytes(64),
    ArgumentKind.BYTES: lambda draws, signer, argument: bytes(draws.rng.choice((0, 1, 8, min(argument.most, 40)))),
    ArgumentKind.U16_LIST: lambda draws, signer, argument: packed(_list_of(draws, 3, draws._draw_netuid)),
    ArgumentKind.U64_LIST: lambda draws, signer, argument: _list_of(draws, 2, lambda: draws.rng.choice((0, 1))),
    ArgumentKind.WEIGHT_LISTS: lambda draws, signer, argument: _list_of(
        draws, 2, lambda: [packed(draws.uids()), packed(draws.weights())]
    ),
    ArgumentKind.WEIGHT_REVEALS: lambda draws, signer, argument: _list_of(
        draws, 2, lambda: [*map(packed, (revealed := draws.committed(signer))[:3]), revealed[3]]
    ),
    ArgumentKind.HASHES: lambda draws, signer, argument: _list_of(draws, 2, lambda: bytes(32)),
    ArgumentKind.TEXTS: _texts,
    ArgumentKind.FIELDS: _fields,
    ArgumentKind.CHILDREN: _children,
    ArgumentKind.VALUES: lambda draws, signer, argument: [],
    ArgumentKind.SIGNATURES: lambda draws, signer, argument: [],
}
"""Every kind there is: a new one has to be drawn too."""


def reveal_arguments(draws: CallDraws, signer: str, netuid: int) -> tuple[Any, ...]:
    """Arguments of `weights.reveal_weights` for something the signer committed to."""
    uids, values, salt, version_key = draws.committed(signer)
    return netuid, packed(uids), packed(values), packed(salt), version_key
