"""A small chain for tests of the rules: real spec, real state, real signatures, no network.

Four authorities `authority-0…3` (each with hotkey, coldkey and authority key of its own) hold root stake; `alice`,
`bob` and `carol` hold free TAO; subnet 1 has four neurons whose hotkeys are `neuron-0…3`, owned by `alice`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from yumad.consensus.authority import AuthoritySet
from yumad.consensus.block import Body
from yumad.consensus.certificate import Certificate, certificate_from_votes
from yumad.consensus.chain_spec import AuthoritySpec, ChainSpec, NeuronSpec, SubnetSpec, genesis_hash
from yumad.consensus.chain_spec_authorities import genesis_authority_set, prove_possession
from yumad.consensus.chain_spec_parameters import SubnetHyperparameters
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.domains import Domain, digest
from yumad.consensus.evidence import Evidence
from yumad.consensus.profiles import DEV, TAO
from yumad.consensus.rules.interface import BlockContext, BlockOutcome, Event, TransactionOutcome
from yumad.consensus.rules.registry import rules_for
from yumad.consensus.rules.v1.calls.admin import order_digest
from yumad.consensus.rules.v1.calls.orders import order_named
from yumad.consensus.rules.v1.calls.table import call_named
from yumad.consensus.rules.v1.errors import error_name
from yumad.consensus.rules.v1.events import event_name
from yumad.consensus.rules.v1.invariants import broken_invariants
from yumad.consensus.signature import KeyPair
from yumad.consensus.statement import Kind, SignedStatement, Statement, VoteDomain, signing_digest
from yumad.consensus.transaction import (
    TransactionDomain,
    encode_transaction,
    fork_digest,
    sign_transaction,
)
from yumad.consensus.types import (
    ZERO_HASH,
    AccountId,
    AuthorityKey,
    Era,
    Hash32,
    Height,
    Micros,
    Netuid,
    Rao,
    Slot,
    View,
)

AUTHORITIES = 4
NEURONS = 4
NETUID = 1
PEOPLE = ("alice", "bob", "carol")
ADMINS = ("admin-0", "admin-1", "admin-2")


def account(name: str) -> AccountId:
    """The account of a development key."""
    return AccountId(dev_keypair(name).public_key)


def authority_key(index: int) -> KeyPair:
    """Voting key of authority `index`."""
    return dev_keypair(f"authority-{index}/vote")


def subnet(parameters: dict[str, Any] | None = None, neurons: int = NEURONS, **fields: Any) -> SubnetSpec:
    """Subnet 1 as the spec has it, with changes."""
    chosen: SubnetHyperparameters = replace(DEV.hyperparameters, **(parameters or {}))
    base = SubnetSpec(
        netuid=Netuid(NETUID),
        owner_hotkey=account("neuron-0"),
        owner_coldkey=account("alice"),
        tao_reserve=Rao(1000 * TAO),
        alpha_reserve=Rao(1000 * TAO),
        quote_weight=5 * 10**17,
        moving_price=1 << 32,
        started=True,
        hyperparameters=chosen,
        neurons=tuple(
            NeuronSpec(account(f"neuron-{n}"), account("alice"), Rao((n + 1) * TAO), 0, 0, n < 2)
            for n in range(neurons)
        ),
        weights=(),
    )
    return replace(base, **fields)


def dev_spec(**fields: Any) -> ChainSpec:
    """The spec described above, with changes."""
    name, salt = fields.get("name", "test"), fields.get("salt", b"salt")
    hotkeys = sorted(account(f"authority-{n}/hot") for n in range(AUTHORITIES))
    of = {account(f"authority-{n}/hot"): n for n in range(AUTHORITIES)}
    chain = {slot: getattr(DEV.chain, slot) for slot in DEV.chain.__dataclass_fields__}
    base = ChainSpec(
        **chain,
        name="test",
        profile="dev",
        genesis_time=Micros(1_700_000_000_000_000),
        salt=b"salt",
        rules_version=1,
        fees=DEV.fees,
        parameters=DEV.parameters,
        admin_keys=tuple(sorted(account(name) for name in ADMINS)),
        admin_threshold=2,
        recovery_keys=(),
        recovery_threshold=0,
        dev_names=PEOPLE,
        balances=tuple(sorted((account(person), Rao(1000 * TAO)) for person in PEOPLE)),
        stakes=tuple((h, account(f"authority-{of[h]}/cold"), Rao((100 + of[h]) * TAO)) for h in hotkeys),
        authorities=tuple(
            AuthoritySpec(
                h,
                account(f"authority-{of[h]}/cold"),
                AuthorityKey(authority_key(of[h]).public_key),
                prove_possession(authority_key(of[h]), name, salt, h),
                b"\x00\x24peer-%d" % of[h],
            )
            for h in hotkeys
        ),
        subnets=(subnet(),),
    )
    return replace(base, **fields)


@dataclass
class DevChain:
    """Executes blocks one after another and remembers their hashes."""

    spec: ChainSpec = field(default_factory=dev_spec)

    def __post_init__(self) -> None:
        self.rules = rules_for(1)
        self.genesis = genesis_hash(self.spec)
        self.state = self.rules.build_genesis(self.spec)
        self.domain = TransactionDomain(self.genesis, fork_digest(self.genesis, 1, ZERO_HASH))
        self.vote_domain = VoteDomain(self.genesis)
        self.height = 0
        self.hashes: list[Hash32] = [self.genesis]
        self.authorities: AuthoritySet = genesis_authority_set(self.spec, self.genesis)
        self.sets: list[AuthoritySet] = [self.authorities]
        self.outcomes: list[BlockOutcome] = []
        self.proposer = 0

    @property
    def era(self) -> int:
        """Era of the next block."""
        return self.height // self.spec.era_blocks

    def context(self) -> BlockContext:
        """Context of the next block."""
        return BlockContext(
            spec=self.spec,
            genesis_hash=self.genesis,
            domain=self.domain,
            vote_domain=self.vote_domain,
            height=Height(self.height + 1),
            era=Era(self.era),
            slot=Slot(self.height + 1),
            parent_hash=self.hashes[-1],
            proposer_index=self.proposer % len(self.authorities.members),
            authorities=self.authorities,
        )

    def block(
        self,
        *transactions: bytes,
        certificate: Certificate | None = None,
        evidence: Sequence[Evidence] = (),
        skip_signatures: bool = False,
    ) -> BlockOutcome:
        """Execute the next block; an invalid one raises and leaves the chain as it was."""
        mark = self.state.begin()
        try:
            body = Body(certificate, tuple(evidence), tuple(transactions))
            outcome = self.rules.apply_block(self.state, self.context(), body, skip_signatures)
        except BaseException:
            self.state.rollback(mark)
            raise
        self.state.commit(mark)
        self._advance(outcome)
        return outcome

    def selected(self, *candidates: bytes, **offered: Any) -> tuple[Body, BlockOutcome, tuple[tuple[Hash32, str], ...]]:
        """Build the next block of candidates and keep it."""
        mark = self.state.begin()
        selection = self.rules.select(self.state, self.context(), candidates, **offered)
        self.state.commit(mark)
        self._advance(selection.outcome)
        return selection.body, selection.outcome, selection.skipped

    def _advance(self, outcome: BlockOutcome) -> None:
        self.height += 1
        self.proposer += 1
        leaf = digest(Domain.BLOCK, self.height.to_bytes(8, "big"), self.state.root())
        self.hashes.append(leaf)
        self.outcomes.append(outcome)
        if outcome.next_authorities is not None:
            self.authorities = outcome.next_authorities
            self.sets.append(self.authorities)

    def skip(self, blocks: int) -> None:
        """Execute empty blocks."""
        for _ in range(blocks):
            self.block()

    def skip_to(self, height: int) -> None:
        """Execute empty blocks until `height` is the newest."""
        self.skip(height - self.height)

    # --- transactions -------------------------------------------------------------------------------------------------

    def nonce(self, name: str) -> int:
        """Next nonce of a development account."""
        return self.state.accounts().nonce(account(name), self.height + 1)

    def sign(self, name: str, call: str, *args: Any, nonce: int | None = None, **fields: Any) -> bytes:
        """A signed transaction of a development key."""
        entry = call_named(call)
        assert entry is not None, call
        signed = sign_transaction(
            self.domain,
            dev_keypair(name),
            nonce=self.nonce(name) if nonce is None else nonce,
            valid_until=fields.pop("valid_until", self.height + 100),
            call=entry.number,
            args=args,
            **fields,
        )
        return encode_transaction(signed)

    def send(self, name: str, call: str, *args: Any, **fields: Any) -> TransactionOutcome:
        """A block with one transaction; gives what became of it."""
        return self.block(self.sign(name, call, *args, **fields)).transactions[0]

    def attempt(self, name: str, call: str, *args: Any) -> str:
        """Name of the result code of a call in a block of its own."""
        return error_name(self.send(name, call, *args).code)

    def order(
        self,
        name: str,
        *values: Any,
        admins: Iterable[str] = ADMINS[:2],
        nonce: int | None = None,
        valid_until: int = 10_000,
    ) -> tuple[Any, ...]:
        """Arguments of `admin.execute` for the administrative call `name`, signed by `admins`."""
        entry = order_named(name)
        assert entry is not None, name
        admin_nonce = int(self.state.read("chain/admin_nonce", 0)) if nonce is None else nonce
        message = order_digest(self.genesis, entry.number, list(values), admin_nonce, valid_until)
        pairs = sorted([account(admin), dev_keypair(admin).sign(message)] for admin in admins)
        return entry.number, list(values), admin_nonce, valid_until, pairs

    def command(self, name: str, *values: Any, **fields: Any) -> str:
        """Result of an administrative call that alice submits."""
        return self.attempt("alice", "admin.execute", *self.order(name, *values, **fields))

    # --- votes --------------------------------------------------------------------------------------------------------

    def vote(self, index: int, statement: Statement, authorities: AuthoritySet | None = None) -> SignedStatement:
        """A statement signed by member `index` of a set, whichever authority that is."""
        key = (authorities or self.authorities).members[index].key
        pair = next(
            pair for pair in [*(authority_key(n) for n in range(8)), dev_keypair("new/vote")] if pair.public_key == key
        )
        return SignedStatement(statement, index, pair.sign(signing_digest(self.vote_domain, statement)))

    def certificate(self, height: int, signers: Iterable[int], era: int | None = None) -> Certificate:
        """A finality certificate for the block at `height`."""
        chosen = Era(self.era if era is None else era)
        statement = Statement(Kind.FINALIZE, chosen, View(height), View(0), self.hashes[height])
        return certificate_from_votes([self.vote(index, statement) for index in signers])

    def heartbeats(self, *indices: int) -> list[bytes]:
        """Heartbeat transactions of authorities, by their name's number."""
        return [self.sign(f"authority-{n}/hot", "authority.heartbeat", b"peer") for n in indices]


def packed(values: Sequence[int]) -> bytes:
    """A u16 list on the wire."""
    return np.asarray(values, dtype="<u2").tobytes()


def event_names(events: Iterable[Event]) -> list[str]:
    """Names of events in order."""
    return [event_name(happened.number) for happened in events]


def total_tao(chain: DevChain) -> int:
    """What `chain/issuance` must equal."""
    state = chain.state
    free, held = state.array("accounts/free").sum(), state.array("subnets/account").sum()
    return int(free) + int(held) + int(state.read("chain/burned", 0))


def check_conservation(chain: DevChain) -> None:
    """The whole ledger adds up (DTAO section 14)."""
    assert total_tao(chain) == int(chain.state.read("chain/issuance", 0))
    assert broken_invariants(chain.state, chain.spec) == []
