"""Records of the block pipeline in vector files: emission curve, whole blocks, moving price, root proportion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Final

from ..consensus.fixed_point import Q96, UQ96
from ..consensus.rules.v1.dtao.coinbase import BlockOutcome, SubnetBlock, run_block
from ..consensus.rules.v1.dtao.economy import Economy, Pending, Subnet, tao_weight, u16_share
from ..consensus.rules.v1.dtao.emission import alpha_issuance, block_emission
from ..consensus.rules.v1.dtao.pool import Pool, spot_price
from ..consensus.rules.v1.dtao.shares import moved_price, root_proportion, weighted_root
from ..consensus.rules.v1.dtao.units import PERQUINTILL_ONE, U128_MAX, Alpha, Perquintill
from ..consensus.rules.v1.schedule import SubnetSchedule
from ..consensus.types import U16_MAX, Height, Rao
from .vector_record import Difference, Fields, Record, RecordError, compare, compare_fields

Checker = Callable[[Record], Iterator[Difference]]

I64_MAX: Final = (1 << 63) - 1

MAX_BLOCKS: Final = 10_000
"""Most blocks one record may ask for; each takes milliseconds."""


def decode_subnet(fields: Fields) -> Subnet:
    """One subnet of a record. Raises RecordError."""
    first = fields.optional_integer("first_emission_block", (1 << 64) - 1)
    return Subnet(
        pool=Pool(
            mechanism=fields.integer("mechanism", U16_MAX),
            tao=Rao(fields.integer("tao")),
            alpha=Alpha(fields.integer("alpha_in")),
            quote_weight=Perquintill(fields.integer("quote_weight", PERQUINTILL_ONE)),
            initialised=fields.boolean("palswap_initialized"),
            fee_rate=fields.integer("fee_rate", U16_MAX),
        ),
        schedule=SubnetSchedule(
            netuid=fields.integer("netuid", U16_MAX),
            tempo=fields.integer("tempo", U16_MAX),
            last_epoch_block=fields.integer("last_epoch_block"),
            pending_epoch_at=fields.integer("pending_epoch_at"),
            blocks_since_last_step=fields.integer("blocks_since_last_step"),
            epoch_index=fields.integer("epoch_index"),
        ),
        alpha_out=Alpha(fields.integer("alpha_out")),
        moving_price=Q96.clamp(fields.integer("moving_price_bits", Q96.maximum)),
        miner_burned=UQ96.clamp(fields.integer("miner_burned_bits", UQ96.maximum)),
        first_emission_block=None if first is None else Height(first),
        subtoken_enabled=fields.boolean("subtoken_enabled"),
        registration_allowed=fields.boolean("registration_allowed"),
        emission_enabled=fields.boolean("emission_enabled"),
        owner_cut_enabled=fields.boolean("owner_cut_enabled"),
        ema_halving_blocks=fields.integer("ema_halving_blocks"),
        pending=Pending(
            *(Alpha(fields.integer(f"pending_{name}")) for name in ("server", "validator", "root", "owner_cut"))
        ),
        protocol_alpha=Alpha(fields.integer("protocol_alpha")),
        protocol_flow=fields.integer("protocol_flow", I64_MAX, minimum=-I64_MAX - 1),
        volume=fields.integer("volume", U128_MAX),
    )


def encode_subnet(subnet: Subnet) -> dict[str, Any]:
    """A subnet in the form of a record."""
    pool, schedule, pending = subnet.pool, subnet.schedule, subnet.pending
    return {
        "netuid": schedule.netuid,
        "mechanism": pool.mechanism,
        "first_emission_block": subnet.first_emission_block,
        "subtoken_enabled": subnet.subtoken_enabled,
        "registration_allowed": subnet.registration_allowed,
        "emission_enabled": subnet.emission_enabled,
        "owner_cut_enabled": subnet.owner_cut_enabled,
        "moving_price_bits": subnet.moving_price,
        "miner_burned_bits": subnet.miner_burned,
        "tao": pool.tao,
        "alpha_in": pool.alpha,
        "alpha_out": subnet.alpha_out,
        "quote_weight": pool.quote_weight,
        "palswap_initialized": pool.initialised,
        "fee_rate": pool.fee_rate,
        "ema_halving_blocks": subnet.ema_halving_blocks,
        "tempo": schedule.tempo,
        "last_epoch_block": schedule.last_epoch_block,
        "pending_epoch_at": schedule.pending_epoch_at,
        "blocks_since_last_step": schedule.blocks_since_last_step,
        "pending_server": pending.server,
        "pending_validator": pending.validator,
        "pending_root": pending.root,
        "pending_owner_cut": pending.owner_cut,
        "protocol_alpha": subnet.protocol_alpha,
        "protocol_flow": subnet.protocol_flow,
        "volume": subnet.volume,
        "epoch_index": schedule.epoch_index,
    }


def decode_economy(fields: Fields) -> Economy:
    """`in.state` of a record. Raises RecordError."""
    subnets = []
    for body in fields.items("subnets"):
        if not isinstance(body, dict):
            raise RecordError(f"'{fields.where}.subnets' holds {str(body)[:40]!r}; expected objects")
        subnets.append(decode_subnet(Fields(f"{fields.where}.subnets", body)))
    netuids = [subnet.netuid for subnet in subnets]
    if any(left >= right for left, right in pairwise(netuids)):
        raise RecordError(f"'{fields.where}.subnets' lists the netuids {netuids}; expected them ascending")
    return Economy(
        total_issuance=Rao(fields.integer("total_issuance")),
        total_stake=Rao(fields.integer("total_stake")),
        root_tao=Rao(fields.integer("root_tao")),
        tao_weight=tao_weight(fields.integer("tao_weight")),
        owner_cut=u16_share(fields.integer("subnet_owner_cut", U16_MAX)),
        subnets=tuple(subnets),
        moving_alpha=Q96.clamp(fields.integer("moving_alpha_bits", Q96.maximum)),
        max_epochs_per_block=fields.integer("max_epochs_per_block", 255),
    )


def _encode_block(before: Economy, done: BlockOutcome, stored: dict[int, dict[str, int]]) -> dict[str, Any]:
    """One element of `out`."""

    def bits(value: Callable[[SubnetBlock], int]) -> list[list[int]]:
        return [[part.netuid, value(part)] for part in done.emitting]

    after = {subnet.netuid: subnet for subnet in done.economy.subnets}
    root = weighted_root(before.root_tao, before.tao_weight)
    for part in done.emitting:
        subnet = after[part.netuid]
        stored[part.netuid] = {
            "tao_in_emission": part.injection.tao_in,
            "alpha_in_emission": part.injection.alpha_in,
            "alpha_out_emission": part.alpha_out,
            "excess_tao": part.injection.excess,
            "root_prop_bits": root_proportion(root, alpha_issuance(subnet.pool.alpha, subnet.alpha_out)),
        }
    return {
        "block_emission": done.minted,
        "emit_to": [part.netuid for part in done.emitting],
        "spot_price_bits": [spot_price(subnet.pool) for subnet in before.subnets],
        "share_bits": bits(lambda part: part.share),
        "tao_emission_bits": bits(lambda part: part.emission),
        "tao_in_bits": bits(lambda part: part.terms.tao_in),
        "alpha_in_bits": bits(lambda part: part.terms.alpha_in),
        "alpha_out_bits": bits(lambda part: part.terms.alpha_out),
        "excess_tao_bits": bits(lambda part: part.terms.excess),
        "root_sell_flag": done.root_sells,
        "total_issuance": done.economy.total_issuance,
        "total_stake": done.economy.total_stake,
        "recycled_alpha": done.recycled_alpha,
        "to_distribute": [[netuid, *pending] for netuid, pending in done.drained],
        "emission_storage": [stored[subnet.netuid] for subnet in done.economy.subnets],
        "subnets": [encode_subnet(subnet) for subnet in done.economy.subnets],
    }


NOTHING_STORED: Final = dict.fromkeys(
    ("tao_in_emission", "alpha_in_emission", "alpha_out_emission", "excess_tao", "root_prop_bits"), 0
)
"""Statistics of a subnet that has not emitted yet."""


def _check_blocks(record: Record) -> Iterator[Difference]:
    fields = record.inputs()
    state = fields.fields("state")
    economy = decode_economy(state)
    block = state.integer("block")
    stored = {int(subnet.netuid): dict(NOTHING_STORED) for subnet in economy.subnets}
    expected = record.expected()
    count = fields.integer("blocks", MAX_BLOCKS)
    if not isinstance(expected, list) or len(expected) != count:
        raise RecordError(f"'out' is not a list of {count} blocks")
    for offset in range(count):
        done = run_block(economy, Height(block + offset), economy.total_issuance)
        actual = _encode_block(economy, done, stored)
        economy = done.economy
        wanted = expected[offset]
        if not isinstance(wanted, dict) or wanted.keys() != actual.keys():
            raise RecordError(f"'out[{offset}]' has not the fields of a block: {', '.join(actual)}")
        for name, value in actual.items():
            yield from compare(record, f"[{offset}].{name}", wanted[name], value)


def _check_emission(record: Record) -> Iterator[Difference]:
    actual = {"emission": [block_emission(issuance) for issuance in record.inputs().integers("issuance")]}
    yield from compare_fields(record, actual)


def _check_moving_price(record: Record) -> Iterator[Difference]:
    fields = record.inputs()
    subnet = decode_subnet(fields.fields("subnet"))
    alpha = Q96.clamp(fields.integer("moving_alpha_bits", Q96.maximum))
    yield from compare_fields(
        record,
        {
            "spot_price_bits": spot_price(subnet.pool),
            "moving_price_bits": moved_price(subnet, spot_price(subnet.pool), alpha, Height(fields.integer("block"))),
        },
    )


def _check_root_proportion(record: Record) -> Iterator[Difference]:
    fields = record.inputs()
    weight = tao_weight(fields.integer("tao_weight"))
    issuance = alpha_issuance(Alpha(fields.integer("alpha_in")), Alpha(fields.integer("alpha_out")))
    share = root_proportion(weighted_root(Rao(fields.integer("root_tao")), weight), issuance)
    yield from compare_fields(record, {"bits": share, "tao_weight_bits": weight})


COINBASE_CHECKERS: Final[dict[str, Checker]] = {
    "block_emission": _check_emission,
    "coinbase_blocks": _check_blocks,
    "moving_price": _check_moving_price,
    "root_proportion": _check_root_proportion,
}
"""Kind -> checker for the block pipeline."""
