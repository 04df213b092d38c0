"""Leader choice: a stateless draw by weight from committed data only (CHAIN 1.3)."""

from __future__ import annotations

from hashlib import blake2b

from .authority import AuthoritySet
from .domains import Domain
from .types import View


def leader_index(authorities: AuthoritySet, view: View | int) -> int:
    """Index of the leader of `view` in `authorities`.

    Sixteen bytes of blake2b over (seed, view) scale to the total weight by multiplication, not modulo: a change of the
    total by one rao must not reshuffle the whole era.
    """
    drawn = blake2b(authorities.seed + view.to_bytes(8, "big"), digest_size=16, person=Domain.LEADER.value).digest()
    point = (int.from_bytes(drawn, "big") * authorities.total_weight) >> 128
    for index, member in enumerate(authorities.members):
        point -= member.weight
        if point < 0:
            return index
    raise AssertionError("the draw lies below the total weight")
