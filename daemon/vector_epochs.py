"""Epoch records of vector files: decoding one into the input of an epoch, and comparing the result (`yumad epoch`).

This is also how a researcher's own case gets in: the `in` object of such a record is the case format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..consensus.rules.v1.schedule import SubnetSchedule, epoch_index_lookahead
from ..consensus.rules.v1.yuma.commits import commit_blocks
from ..consensus.rules.v1.yuma.epoch import run_epoch
from ..consensus.rules.v1.yuma.inputs import (
    MAX_EPOCH_UIDS,
    MILLION,
    EpochInput,
    EpochParameters,
    activity_cutoff_blocks,
)
from ..consensus.rules.v1.yuma.outputs import EpochOutput
from ..consensus.rules.v1.yuma.sparse_rows import SparseRows, rows_from_lists
from ..consensus.rules.v1.yuma.stake import inherited_stake
from ..consensus.types import U16_MAX, U32_MAX
from .vector_record import Difference, Fields, Record, RecordError, compare

FIRST_UID_ACCOUNT: Final = 1000
"""Account number of uid 0 in `parents`, `children` and `extra_accounts`; uid u is this plus u."""

STORED_FIELDS: Final = (
    "active",
    "stake_weight",
    "consensus",
    "incentive",
    "dividends",
    "validator_trust",
    "validator_permit",
    "emission",
    "server_emission",
    "validator_emission",
    "stake",
    "bonds",
)
"""Fields of `out` that an epoch returns under the same name."""

INHERITED_FIELDS: Final = ("inherited_alpha", "inherited_tao")
"""Fields of `out` that say what entered the epoch."""


def decode_epoch(fields: Fields) -> EpochInput:
    """The `in` object of an epoch record as the input of an epoch, inheritance of stake applied.

    Raises RecordError naming the field and what was expected of it.
    """
    count = fields.integer("n", MAX_EPOCH_UIDS, minimum=1)
    tempo = fields.integer("tempo", U16_MAX)
    own = list(zip(_vector(fields, "alpha_stake", count), _vector(fields, "tao_stake", count), strict=True))
    inherited = _inherited(fields, own)
    last_update = fields.integers("last_update")
    if len(last_update) > count:
        raise RecordError(f"'in.last_update' has {len(last_update)} elements; expected at most {count}")
    permits = fields.booleans("validator_permit")
    if len(permits) != count:
        raise RecordError(f"'in.validator_permit' has {len(permits)} elements; expected {count}")
    return EpochInput(
        block=fields.integer("current_block"),
        tempo=tempo,
        cutoff_blocks=activity_cutoff_blocks(fields.integer("activity_cutoff_factor_milli", U32_MAX), tempo),
        last_step=fields.integer("last_mechanism_step_block"),
        owner_uid=fields.optional_integer("owner_uid", count - 1),
        emission=fields.integer("rao_emission"),
        last_update=np.array(last_update + [0] * (count - len(last_update)), dtype=np.uint64),
        registration=np.array(_vector(fields, "block_at_registration", count), dtype=np.uint64),
        permit=np.array(permits, dtype=np.bool_),
        alpha_stake=np.array([alpha for alpha, _ in inherited], dtype=np.uint64),
        tao_stake=np.array([tao for _, tao in inherited], dtype=np.uint64),
        weights=_rows(fields, "weights", count),
        bonds=_rows(fields, "bonds", count),
        parameters=EpochParameters(
            kappa=fields.integer("kappa", U16_MAX),
            bonds_penalty=fields.integer("bonds_penalty", U16_MAX),
            bonds_moving_average=fields.integer("bonds_moving_average", MILLION),
            yuma3=fields.boolean("yuma3"),
            liquid_alpha=fields.boolean("liquid_alpha"),
            alpha_low=fields.integer("alpha_low", U16_MAX),
            alpha_high=fields.integer("alpha_high", U16_MAX),
            alpha_sigmoid_steepness=fields.integer("alpha_sigmoid_steepness", 32767, minimum=-32768),
            max_allowed_validators=fields.integer("max_allowed_validators", U16_MAX),
            stake_threshold=fields.integer("stake_threshold"),
            tao_weight=fields.integer("tao_weight"),
        ),
        commit_block=_commit_blocks(fields, count, tempo) if fields.boolean("commit_reveal") else None,
    )


def _vector(fields: Fields, name: str, count: int) -> list[int]:
    values = fields.integers(name)
    if len(values) != count:
        raise RecordError(f"'in.{name}' has {len(values)} elements; expected one for each of {count} uids")
    return values


def _rows(fields: Fields, name: str, count: int) -> SparseRows:
    rows = [fields.integer_groups(name, row, 2, U16_MAX) for row in fields.items(name)]
    if len(rows) > count:
        raise RecordError(f"'in.{name}' has {len(rows)} rows; expected at most {count}")
    for number, row in enumerate(rows):
        if len({uid for uid, _ in row}) != len(row):
            raise RecordError(f"'in.{name}': row {number} names a uid twice")
    return rows_from_lists(rows, count)


def _inherited(fields: Fields, own: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """(alpha, tao) of each uid after delegation to children and from parents (YUMA 2.1)."""
    accounts = {FIRST_UID_ACCOUNT + uid: stakes for uid, stakes in enumerate(own)}
    accounts.update({account: (alpha, tao) for account, alpha, tao in _triples(fields, "extra_accounts")})
    parents, children = _relations(fields, "parents"), _relations(fields, "children")

    def inherit(uid: int, which: int) -> int:
        given = [proportion for proportion, _ in children.get(uid, ())]
        received = [(share, accounts.get(parent, (0, 0))[which]) for share, parent in parents.get(uid, ())]
        return inherited_stake(own[uid][which], given, received) if given or received else own[uid][which]

    return [(inherit(uid, 0), inherit(uid, 1)) for uid in range(len(own))]


def _triples(fields: Fields, name: str) -> list[list[int]]:
    return fields.integer_groups(name, fields.items(name), 3)


def _relations(fields: Fields, name: str) -> dict[int, list[list[int]]]:
    """uid -> its (u64 proportion, account) pairs."""
    return {uid: fields.integer_groups(name, pairs, 2) for uid, pairs in fields.groups(name) if isinstance(uid, int)}


def _commit_blocks(fields: Fields, count: int, tempo: int) -> NDArray[np.uint64]:
    schedule = SubnetSchedule(
        netuid=1,
        tempo=tempo,
        last_epoch_block=fields.integer("last_epoch_block"),
        pending_epoch_at=fields.integer("pending_epoch_at"),
        blocks_since_last_step=fields.integer("blocks_since_last_step"),
        epoch_index=fields.integer("subnet_epoch_index"),
    )

    def queues(name: str) -> list[tuple[int, list[tuple[int, int]]]]:
        found = []
        for key, pairs in fields.groups(name):
            if not isinstance(key, int):
                raise RecordError(f"'in.{name}' holds {key!r}; expected an integer")
            found.append((key, [(first, second) for first, second in fields.integer_groups(name, pairs, 2)]))
        return found

    return commit_blocks(
        count,
        queues("weight_commits"),
        queues("timelocked_commits"),
        epoch_index_lookahead(schedule, fields.integer("current_block")),
        fields.integer("reveal_period"),
    )


def stored_output(case: EpochInput, output: EpochOutput) -> dict[str, Any]:
    """The result of an epoch in the form of a record's `out`: plain lists, integers in rao or parts of 65535."""
    document = {name: plain(getattr(output, name)) for name in STORED_FIELDS}
    document["inherited_alpha"] = case.alpha_stake.tolist()
    document["inherited_tao"] = case.tao_stake.tolist()
    return document


def plain(value: SparseRows | NDArray[Any] | list[int]) -> list[Any]:
    """An epoch's array or rows as plain lists."""
    if isinstance(value, SparseRows):
        return value.to_lists()
    if isinstance(value, list):
        return value
    listed: list[Any] = value.tolist()
    return listed


def check_epoch(record: Record) -> Iterator[Difference]:
    """Where an epoch departs from its record: every field of `out`, and of `raw` when there is one."""
    case = decode_epoch(record.inputs())
    raw = record.body.get("raw")
    if raw is not None and not isinstance(raw, dict):
        raise RecordError("'raw' is not an object")
    output = run_epoch(case, trace=bool(raw))
    yield from compare_stored(record, stored_output(case, output))
    if raw and output.trace is not None:
        for name, expected in raw.items():
            actual = getattr(output.trace, name, None)
            if actual is None:
                raise RecordError(f"'raw.{name}' is not an intermediate of the epoch")
            yield from compare(record, f"raw.{name}", expected, plain(actual))


def compare_stored(record: Record, actual: dict[str, Any]) -> Iterator[Difference]:
    """Where `actual` departs from the record's `out`; a field that only one of them has is an error in the record."""
    expected = record.expected()
    if not isinstance(expected, dict):
        raise RecordError("'out' is not an object")
    for name in actual:
        if name not in expected:
            raise RecordError(f"'out.{name}' is missing")
    for name, value in expected.items():
        if name not in actual:
            raise RecordError(f"'out.{name}' is not a result of the epoch")
        yield from compare(record, name, value, actual[name])
