"""How a block's new alpha is set aside for the next epoch (DTAO 3.5, phase 2)."""

from typing import Final, NamedTuple

from ....fixed_point import U96F32, UQ96
from .economy import Pending, Subnet
from .emission import alpha_issuance
from .injection import Injection
from .shares import root_proportion
from .units import Alpha, add_alpha, sub_alpha

HALF: Final = U96F32(UQ96.one >> 1)
"""Miners and validators get half each; of the validators' half, root's proportion goes to root stakers."""


class AlphaSplit(NamedTuple):
    """A block's alpha of one subnet by purpose, in whole units (DTAO 3.5 phase 2 steps 2 and 3)."""

    owner_cut: Alpha
    server: Alpha
    validator: Alpha
    root: Alpha


def split_alpha(alpha: U96F32, owner_cut: U96F32, root_share: U96F32) -> AlphaSplit:
    """Owner's cut first; of the rest half to miners, and root's part out of the validators' half.

    `alpha` is the whole emission, `owner_cut` the owner's share (0 when switched off), `root_share` the live root
    proportion. Each part is floored by itself. All in U96F32; with shares of at most 1 nothing here can leave it.
    """
    cut = alpha * owner_cut >> 32
    rest = alpha - cut
    root = (root_share * rest >> 32) * HALF >> 32
    server = rest * HALF >> 32
    validator = rest - server - root
    return AlphaSplit(Alpha(cut >> 32), Alpha(server >> 32), Alpha(validator >> 32), Alpha(root >> 32))


class Accrual(NamedTuple):
    """What phase 2 does to one subnet."""

    alpha_out: Alpha
    """SubnetAlphaOut, with what the chain bought and what was minted."""

    pending: Pending
    recycled: Alpha
    """Root's part, when root does not sell."""


def accrue(
    subnet: Subnet, injection: Injection, alpha: U96F32, owner_cut: U96F32, root: U96F32, *, root_sells: bool
) -> Accrual:
    """Mint a block's alpha and set it aside; `root` is root's weighted TAO.

    Its proportion is live: after injection, buy and this mint. Without root-sell, root's part is recycled, but still
    missing from the validators'.
    """
    alpha_out = add_alpha(subnet.alpha_out, injection.bought + UQ96.to_u64(alpha))
    share = root_proportion(root, alpha_issuance(injection.pool.alpha, alpha_out))
    split = split_alpha(alpha, owner_cut if subnet.owner_cut_enabled else U96F32(0), share)
    recycled = Alpha(0) if root_sells else split.root
    before = subnet.pending
    pending = Pending(
        server=add_alpha(before.server, split.server),
        validator=add_alpha(before.validator, split.validator),
        root=add_alpha(before.root, split.root) if root_sells else before.root,
        owner_cut=add_alpha(before.owner_cut, split.owner_cut),
    )
    return Accrual(sub_alpha(alpha_out, recycled), pending, recycled)
