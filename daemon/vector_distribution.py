"""Records of an epoch's payout in vector files: dividends by hotkey."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from ..consensus.fixed_point import u64_to_proportion
from ..consensus.rules.v1.dtao.distribution import Holder, HotkeyEmission, PayoutRules, Relation, distribute
from ..consensus.rules.v1.dtao.economy import tao_weight
from ..consensus.rules.v1.dtao.units import Alpha
from ..consensus.types import U16_MAX, U64_MAX, AccountId
from .vector_record import Difference, Fields, Record, RecordError, compare_fields

Checker = Callable[[Record], Iterator[Difference]]


def _account(number: int) -> AccountId:
    """Accounts of records are numbers; big-endian keeps their order."""
    return AccountId(number.to_bytes(32, "big"))


def _number(account: AccountId) -> int:
    return int.from_bytes(account, "big")


def _holders(fields: Fields) -> dict[AccountId, Holder]:
    holders = {}
    for account, alpha, root_tao, coldkey, take in fields.integer_groups("accounts", fields.items("accounts"), 5):
        if take > U16_MAX:
            raise RecordError(f"'in.accounts': a child key take of {take}; expected a u16")
        holders[_account(account)] = Holder(_account(coldkey), alpha, root_tao, take)
    return holders


def _relations(fields: Fields, name: str) -> dict[AccountId, list[Relation]]:
    found = {}
    for account, pairs in fields.groups(name):
        if not isinstance(account, int) or not 0 <= account <= U64_MAX:
            raise RecordError(f"'in.{name}' holds {str(account)[:40]!r}; expected an account number")
        groups = fields.integer_groups(name, pairs, 2)
        found[_account(account)] = [Relation(proportion, _account(other)) for proportion, other in groups]
    return found


def _check_distribution(record: Record) -> Iterator[Difference]:
    fields = record.inputs()
    emissions = [
        HotkeyEmission(_account(account), Alpha(incentive), Alpha(dividend))
        for account, incentive, dividend in fields.integer_groups("hotkey_emission", fields.items("hotkey_emission"), 3)
    ]
    done = distribute(
        emissions,
        Alpha(fields.integer("pending_validator_alpha")),
        Alpha(fields.integer("pending_root_alpha")),
        _holders(fields),
        _relations(fields, "parents"),
        _relations(fields, "children"),
        PayoutRules(tao_weight(fields.integer("tao_weight")), u64_to_proportion(fields.integer("ck_burn"))),
    )
    actual = {
        "incentives": [[_number(hotkey), amount] for hotkey, amount in done.incentives.items()],
        "alpha_dividend_bits": [[_number(hotkey), bits] for hotkey, bits in done.alpha_dividends.items()],
        "root_alpha_dividend_bits": [[_number(hotkey), bits] for hotkey, bits in done.root_dividends.items()],
        "recycled_alpha": done.recycled,
    }
    yield from compare_fields(record, actual)


DISTRIBUTION_CHECKERS: Final[dict[str, Checker]] = {"dividend_distribution": _check_distribution}
"""Kind -> checker for payouts."""
