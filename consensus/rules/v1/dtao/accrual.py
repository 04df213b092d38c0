"""How a block's new alpha is set aside for the next epoch (DTAO 3.5, phase 2)."""

from dataclasses import dataclass, replace
from typing import Final

from ....fixed_point import U96F32, UQ96
from .economy import Economy, Pending, Subnet
from .emission import alpha_issuance
from .shares import root_proportion
from .units import Alpha, add_alpha, sub_alpha

HALF: Final = U96F32(UQ96.one >> 1)
"""Miners and validators get half each; of the validators' half, root's proportion goes to root stakers."""


@dataclass(frozen=True, slots=True)
class AlphaSplit:
    """A block's alpha of one subnet by purpose, in whole units (DTAO 3.5 phase 2 steps 2 and 3)."""

    owner_cut: Alpha
    server: Alpha
    validator: Alpha
    root: Alpha


def split_alpha(alpha: U96F32, owner_cut: U96F32, root_share: U96F32) -> AlphaSplit:
    """Owner's cut first; of the rest half to miners, and root's part out of the validators' half.

    `alpha` is the whole emission, `owner_cut` the owner's share (0 when switched off), `root_share` the live root
    proportion. Each part is floored by itself.
    """
    cut = UQ96.mul(alpha, owner_cut)
    rest = UQ96.sub(alpha, cut)
    root = UQ96.mul(UQ96.mul(root_share, rest), HALF)
    server = UQ96.mul(rest, HALF)
    validator = UQ96.sub(UQ96.sub(rest, server), root)
    return AlphaSplit(*(Alpha(UQ96.to_u64(part)) for part in (cut, server, validator, root)))


def accrue(subnet: Subnet, alpha: U96F32, economy: Economy, root_sells: bool) -> tuple[Subnet, Alpha]:
    """Mint a block's alpha to one subnet and set it aside; gives the alpha recycled too.

    The root proportion is live: after injection, buy and this mint. Without root-sell, root's part is recycled, but
    still missing from the validators'.
    """
    alpha_out = add_alpha(subnet.alpha_out, UQ96.to_u64(alpha))
    share = root_proportion(economy.root_tao, economy.tao_weight, alpha_issuance(subnet.pool.alpha, alpha_out))
    split = split_alpha(alpha, economy.owner_cut if subnet.owner_cut_enabled else UQ96.from_int(0), share)
    recycled = Alpha(0) if root_sells else split.root
    before = subnet.pending
    pending = Pending(
        server=add_alpha(before.server, split.server),
        validator=add_alpha(before.validator, split.validator),
        root=add_alpha(before.root, split.root) if root_sells else before.root,
        owner_cut=add_alpha(before.owner_cut, split.owner_cut),
    )
    return replace(subnet, alpha_out=sub_alpha(alpha_out, recycled), pending=pending), recycled
