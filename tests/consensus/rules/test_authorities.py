"""Authorities through the chain: keys, heartbeats, participation, evidence, seeds and the boundary (CHAIN 1.3, 6.4)."""

from dataclasses import replace

import pytest
from dev_chain import (
    AUTHORITIES,
    DevChain,
    account,
    authority_key,
    check_conservation,
    dev_spec,
    event_names,
)
from yumad.consensus.authority import Authority, AuthoritySet, era_seed
from yumad.consensus.block import EMPTY_BODY
from yumad.consensus.chain_spec_authorities import possession_digest
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.evidence import Evidence, make_evidence
from yumad.consensus.profiles import TAO
from yumad.consensus.rules.v1.authorities import bonded_stake
from yumad.consensus.rules.v1.balances import free_balance
from yumad.consensus.rules.v1.era_sets import read_era_set
from yumad.consensus.rules.v1.stakes import hotkey_stake
from yumad.consensus.statement import Kind, Statement, nullify
from yumad.consensus.types import AccountId, AuthorityKey, Era, Hash32, InvalidError, Rao, View

EVERYBODY = tuple(range(AUTHORITIES))


@pytest.fixture
def chain() -> DevChain:
    return DevChain()


def keys(chain: DevChain, era: int = -1) -> list[bytes]:
    return [member.key for member in chain.sets[era].members]


def key_of(index: int) -> bytes:
    return authority_key(index).public_key


def run_era(chain: DevChain, *beating: int) -> None:
    """Play the rest of the running era with heartbeats of the given authorities."""
    end = (chain.era + 1) * chain.spec.era_blocks
    chain.block(*chain.heartbeats(*beating))
    chain.skip_to(end)


def index_of(chain: DevChain, number: int, era: int = -1) -> int:
    return keys(chain, era).index(key_of(number))


# --- the ordinary era -------------------------------------------------------------------------------------------------


def test_set_with_everybody_present_goes_on_with_a_new_seed(chain: DevChain) -> None:
    run_era(chain, *EVERYBODY)
    assert keys(chain) == keys(chain, 0)
    assert chain.sets[1].seed == era_seed(chain.genesis, Era(1), None)
    assert "NewAuthoritySet" in event_names(chain.outcomes[-1].block_events)


def test_seed_of_an_era_comes_from_the_boundary_block_two_eras_back(chain: DevChain) -> None:
    for _ in range(3):
        run_era(chain, *EVERYBODY)
    assert chain.sets[2].seed == era_seed(chain.genesis, Era(2), chain.hashes[20])
    assert chain.sets[3].seed == era_seed(chain.genesis, Era(3), chain.hashes[40])


def test_next_set_appears_at_boundary_blocks_only(chain: DevChain) -> None:
    chain.skip(41)
    assert [h + 1 for h, outcome in enumerate(chain.outcomes) if outcome.next_authorities] == [20, 40]


def test_sets_are_kept_for_the_evidence_eras_and_then_forgotten(chain: DevChain) -> None:
    for _ in range(4):
        run_era(chain, *EVERYBODY)
    assert read_era_set(chain.state, 0) is None
    assert read_era_set(chain.state, 1) is None
    assert [read_era_set(chain.state, era) is not None for era in (2, 3, 4)] == [True] * 3


def test_missing_heartbeats_never_take_the_set_below_the_smallest(chain: DevChain) -> None:
    run_era(chain)
    assert keys(chain) == keys(chain, 0)


def bigger_chain(min_set: int = 2) -> DevChain:
    return DevChain(dev_spec(min_set=min_set))


def test_missing_heartbeat_leaves_the_authority_out() -> None:
    chain = bigger_chain()
    run_era(chain, 0, 1, 2)
    assert sorted(keys(chain)) == sorted(key_of(n) for n in (0, 1, 2))
    chain.skip(5)
    run_era(chain, 0, 1, 2, 3)
    assert len(keys(chain)) == 4  # present again, in the era after


def test_heartbeat_of_an_earlier_era_does_not_count() -> None:
    chain = bigger_chain()
    run_era(chain, 0, 1, 2, 3)
    run_era(chain, 0, 1)
    assert sorted(keys(chain)) == sorted(key_of(n) for n in (0, 1))


def test_heartbeat_is_accepted_once_and_again_after_a_pause(chain: DevChain) -> None:
    chain.block(*chain.heartbeats(0))
    with pytest.raises(InvalidError, match="HeartbeatTooSoon"):
        chain.block(*chain.heartbeats(0))
    chain.skip(1)
    chain.block(*chain.heartbeats(0))


def test_heartbeat_of_a_hotkey_without_key_or_without_peer_id_bars_the_block(chain: DevChain) -> None:
    with pytest.raises(InvalidError, match="NotAnAuthority"):
        chain.send("neuron-1", "authority.heartbeat", b"peer")
    with pytest.raises(InvalidError, match="InvalidPeerId"):
        chain.send("authority-0/hot", "authority.heartbeat", b"")


def test_heartbeat_without_root_stake_behind_it_bars_the_block() -> None:
    chain = newcomer_chain()
    assert chain.attempt("new/hot", "authority.register", *proof(chain, "new/hot")) == "ok"
    assert chain.send("new/hot", "authority.heartbeat", b"peer").code == 0
    assert chain.attempt("bob", "stake.remove_stake", account("new/hot"), 0, 49 * TAO + 1) == "ok"
    chain.skip(2)
    with pytest.raises(InvalidError, match="NotEnoughRootStake"):
        chain.send("new/hot", "authority.heartbeat", b"peer")
    assert chain.attempt("bob", "stake.add_stake", account("new/hot"), 0, TAO) == "ok"
    assert chain.send("new/hot", "authority.heartbeat", b"peer").code == 0


# --- weights ----------------------------------------------------------------------------------------------------------


def weight_of(chain: DevChain, number: int) -> int:
    return next((m.weight for m in chain.authorities.members if m.key == key_of(number)), 0)


def test_weight_is_the_smaller_of_the_last_two_boundaries(chain: DevChain) -> None:
    chain.send("bob", "stake.add_stake", account("authority-0/hot"), 0, 50 * TAO)
    run_era(chain, *EVERYBODY)
    assert weight_of(chain, 0) == 100 * TAO
    run_era(chain, *EVERYBODY)
    assert weight_of(chain, 0) == 150 * TAO


def test_stake_there_for_one_boundary_only_never_counts(chain: DevChain) -> None:
    chain.skip_to(17)
    chain.send("bob", "stake.add_stake", account("authority-0/hot"), 0, 50 * TAO)
    run_era(chain, *EVERYBODY)
    assert chain.attempt("bob", "stake.remove_stake", account("authority-0/hot"), 0, 50 * TAO) == "ok"
    for _ in range(2):
        run_era(chain, *EVERYBODY)
        assert weight_of(chain, 0) == 100 * TAO


# --- registration -----------------------------------------------------------------------------------------------------


def proof(chain: DevChain, hotkey: str, key: str = "new/vote") -> tuple[bytes, bytes]:
    pair = dev_keypair(key)
    return pair.public_key, pair.sign(possession_digest(chain.genesis, account(hotkey)))


def newcomer_chain(stake: int = 50 * TAO) -> DevChain:
    """`bob` stakes behind the new hotkey, which is given TAO for the fee."""
    chain = DevChain()
    chain.send("bob", "keys.try_associate_hotkey", account("new/hot"))
    if stake:
        chain.send("bob", "stake.add_stake", account("new/hot"), 0, stake)
    chain.send("bob", "balances.transfer_keep_alive", account("new/hot"), TAO)
    return chain


def test_newcomer_sits_in_the_set_after_two_boundaries() -> None:
    chain = newcomer_chain()
    assert chain.attempt("new/hot", "authority.register", *proof(chain, "new/hot")) == "ok"
    newcomer = dev_keypair("new/vote").public_key
    for era in range(3):
        chain.block(chain.sign("new/hot", "authority.heartbeat", b"peer"), *chain.heartbeats(*EVERYBODY))
        chain.skip_to((era + 1) * 20)
        # Registered in era 0: the boundary before must be younger than that at boundary 1, not at boundary 0.
        assert (newcomer in keys(chain)) is (era >= 1)


def test_key_registered_in_the_earlier_boundary_block_itself_is_too_young() -> None:
    chain = newcomer_chain()
    chain.skip_to(19)
    assert chain.attempt("new/hot", "authority.register", *proof(chain, "new/hot")) == "ok"
    assert chain.height == 20
    newcomer = dev_keypair("new/vote").public_key
    for era in range(1, 3):
        chain.block(chain.sign("new/hot", "authority.heartbeat", b"peer"), *chain.heartbeats(*EVERYBODY))
        chain.skip_to((era + 1) * 20)
        assert (newcomer in keys(chain)) is (era >= 2)


def test_registration_without_enough_root_stake_fails() -> None:
    chain = newcomer_chain(stake=TAO // 2)
    assert chain.attempt("new/hot", "authority.register", *proof(chain, "new/hot")) == "NotEnoughRootStake"


def test_registration_with_another_hotkeys_proof_fails() -> None:
    chain = newcomer_chain()
    assert chain.attempt("new/hot", "authority.register", *proof(chain, "other")) == "BadProofOfPossession"


def test_registration_of_a_key_in_use_fails() -> None:
    chain = newcomer_chain()
    taken = authority_key(0)
    args = (taken.public_key, taken.sign(possession_digest(chain.genesis, account("new/hot"))))
    assert chain.attempt("new/hot", "authority.register", *args) == "AuthorityKeyInUse"


def test_registration_of_the_same_key_again_changes_nothing() -> None:
    chain = newcomer_chain()
    assert chain.attempt("new/hot", "authority.register", *proof(chain, "new/hot")) == "ok"
    assert chain.attempt("new/hot", "authority.register", *proof(chain, "new/hot")) == "AuthorityKeyUnchanged"


def test_replaced_key_votes_until_the_new_one_is_old_enough() -> None:
    chain = DevChain()
    chain.send("bob", "balances.transfer_keep_alive", account("authority-0/hot"), TAO)
    assert chain.attempt("authority-0/hot", "authority.register", *proof(chain, "authority-0/hot")) == "ok"
    replacement = dev_keypair("new/vote").public_key
    run_era(chain, *EVERYBODY)
    assert key_of(0) in keys(chain)
    assert replacement not in keys(chain)
    run_era(chain, *EVERYBODY)
    assert replacement in keys(chain)
    assert key_of(0) not in keys(chain)


# --- participation ----------------------------------------------------------------------------------------------------


def test_member_in_no_certificate_and_author_of_no_block_is_idle() -> None:
    chain = bigger_chain()
    silent = index_of(chain, 3)
    others = [n for n in EVERYBODY if n != silent]
    chain.block(*chain.heartbeats(*EVERYBODY))
    while chain.height < 20:
        chain.proposer = others[chain.height % 3]
        chain.block(certificate=chain.certificate(2, others) if chain.height == 4 else None)
    assert sorted(keys(chain)) == sorted(key_of(n) for n in (0, 1, 2))


def test_member_in_one_certificate_is_not_idle() -> None:
    chain = bigger_chain()
    silent = index_of(chain, 3)
    others = [n for n in EVERYBODY if n != silent]
    chain.block(*chain.heartbeats(*EVERYBODY))
    while chain.height < 20:
        chain.proposer = others[chain.height % 3]
        chain.block(certificate=chain.certificate(2, EVERYBODY) if chain.height == 4 else None)
    assert len(keys(chain)) == 4


def test_author_of_one_block_is_not_idle() -> None:
    chain = bigger_chain()
    run_era(chain, *EVERYBODY)
    assert len(keys(chain)) == 4


def refuse_certificate(chain: DevChain, *args: object, **fields: object) -> None:
    root = chain.state.root()
    with pytest.raises(InvalidError):
        chain.block(certificate=chain.certificate(*args, **fields))  # type: ignore[arg-type]
    assert chain.state.root() == root


def test_certificate_heights_strictly_increase(chain: DevChain) -> None:
    chain.skip(6)
    chain.block(certificate=chain.certificate(3, EVERYBODY))
    refuse_certificate(chain, 3, EVERYBODY)
    refuse_certificate(chain, 2, EVERYBODY)
    chain.block(certificate=chain.certificate(4, EVERYBODY))


def test_certificate_is_at_least_two_heights_back(chain: DevChain) -> None:
    chain.skip(5)
    refuse_certificate(chain, 5, EVERYBODY)
    chain.block(certificate=chain.certificate(4, EVERYBODY))


def test_certificate_of_another_era_is_refused(chain: DevChain) -> None:
    chain.skip(22)
    refuse_certificate(chain, 20, EVERYBODY)
    refuse_certificate(chain, 20, EVERYBODY, era=0)


def test_certificate_without_a_quorum_is_refused(chain: DevChain) -> None:
    chain.skip(5)
    refuse_certificate(chain, 3, EVERYBODY[:2])
    with pytest.raises(InvalidError, match="quorum"):
        chain.block(certificate=chain.certificate(3, EVERYBODY[:2]), skip_signatures=True)


def test_certificate_for_an_unknown_block_is_refused(chain: DevChain) -> None:
    chain.skip(5)
    chain.hashes[3] = Hash32(bytes(32))
    refuse_certificate(chain, 3, EVERYBODY)


def test_builder_leaves_out_a_certificate_that_may_not_be_included(chain: DevChain) -> None:
    chain.skip(5)
    body, _, _ = chain.selected(certificate=chain.certificate(5, EVERYBODY))
    assert body.certificate is None
    body, _, _ = chain.selected(certificate=chain.certificate(5, EVERYBODY))
    assert body.certificate is not None


# --- evidence ---------------------------------------------------------------------------------------------------------


def double_vote(chain: DevChain, number: int, view: int = 1, era: int = 0, kind: Kind = Kind.NOTARIZE) -> Evidence:
    authorities = chain.sets[era]
    index = index_of(chain, number, era)
    votes = [
        chain.vote(index, Statement(kind, Era(era), View(view), View(0), Hash32(bytes([n] * 32))), authorities)
        for n in (1, 2)
    ]
    return make_evidence(*votes)


def test_evidence_jails_the_hotkey_at_the_boundary(chain: DevChain) -> None:
    outcome = chain.block(evidence=[double_vote(chain, 2)])
    assert event_names(outcome.block_events) == ["EvidenceAccepted"]
    run_era(chain, *EVERYBODY)
    assert key_of(2) not in keys(chain)
    assert "AuthorityJailed" in event_names(chain.outcomes[-1].block_events)


def test_evidence_twice_makes_the_block_invalid(chain: DevChain) -> None:
    piece = double_vote(chain, 2)
    with pytest.raises(InvalidError, match="covered"):
        chain.block(evidence=[piece, piece])
    chain.block(evidence=[piece])
    with pytest.raises(InvalidError, match="covered"):
        chain.block(evidence=[piece])


def test_many_offences_up_to_the_jailing_are_one_punishment(chain: DevChain) -> None:
    run_era(chain, *EVERYBODY)
    chain.block(evidence=[double_vote(chain, 2, era=1)])
    for piece in (double_vote(chain, 2, view=5, era=1), double_vote(chain, 2, era=0)):
        with pytest.raises(InvalidError, match="covered"):
            chain.block(evidence=[piece])
    run_era(chain, *EVERYBODY)
    with pytest.raises(InvalidError, match="covered"):
        chain.block(evidence=[double_vote(chain, 2, view=7, era=1)])


def test_evidence_of_an_era_whose_set_is_forgotten_or_to_come_is_refused(chain: DevChain) -> None:
    old = double_vote(chain, 2)
    for _ in range(3):
        run_era(chain, *EVERYBODY)
    with pytest.raises(InvalidError, match="not kept"):
        chain.block(evidence=[old])
    ahead = double_vote(chain, 1, era=3)
    fresh = DevChain()
    with pytest.raises(InvalidError, match="not kept"):
        fresh.block(evidence=[ahead])


def test_legal_pairs_are_no_evidence(chain: DevChain) -> None:
    index = index_of(chain, 1)
    notarize = chain.vote(index, Statement(Kind.NOTARIZE, Era(0), View(1), View(0), Hash32(bytes([1] * 32))))
    timed_out = chain.vote(index, nullify(Era(0), View(1)))
    other_final = chain.vote(index, Statement(Kind.FINALIZE, Era(0), View(1), View(0), Hash32(bytes([2] * 32))))
    for pair in (make_evidence(notarize, timed_out), make_evidence(notarize, other_final)):
        with pytest.raises(InvalidError):
            chain.block(evidence=[pair])
        with pytest.raises(InvalidError):
            chain.block(evidence=[pair], skip_signatures=True)


def test_evidence_with_a_wrong_signature_is_refused(chain: DevChain) -> None:
    good = double_vote(chain, 1)
    forged = DevChain(dev_spec(name="other")).vote(good.first.index, good.first.statement)
    with pytest.raises(InvalidError):
        chain.block(evidence=[make_evidence(forged, good.second)])


def test_nullify_with_finalize_is_an_offence(chain: DevChain) -> None:
    index = index_of(chain, 1)
    timed_out = chain.vote(index, nullify(Era(0), View(1)))
    final = chain.vote(index, Statement(Kind.FINALIZE, Era(0), View(1), View(0), Hash32(bytes([2] * 32))))
    chain.block(evidence=[make_evidence(timed_out, final)])


def test_builder_takes_at_most_four_and_only_good_evidence(chain: DevChain) -> None:
    pieces = [double_vote(chain, 0), double_vote(chain, 0, view=9), double_vote(chain, 1)]
    body, _, _ = chain.selected(evidence=pieces)
    assert body.evidence == (pieces[0], pieces[2])


def slashing_chain() -> DevChain:
    return DevChain(dev_spec(slash_ppm=10_000, jail_eras=2))


def test_bonded_stake_is_cut_once_and_burned() -> None:
    chain = slashing_chain()
    hot = account("authority-2/hot")
    chain.send("bob", "stake.add_stake", hot, 0, 10 * TAO)
    chain.block(evidence=[double_vote(chain, 2)])
    run_era(chain, *EVERYBODY)
    cut = 102 * TAO // 100
    assert hotkey_stake(chain.state, 0, hot) == 112 * TAO - cut
    assert chain.state.read("chain/burned", 0) >= cut
    check_conservation(chain)
    run_era(chain, *EVERYBODY)
    assert hotkey_stake(chain.state, 0, hot) == 112 * TAO - cut


def test_unstaking_before_the_evidence_lands_is_bonded_and_the_cut_still_works() -> None:
    chain = slashing_chain()
    chain.send("bob", "balances.transfer_keep_alive", account("authority-2/cold"), TAO)
    hot = account("authority-2/hot")
    assert chain.attempt("authority-2/cold", "stake.remove_stake", hot, 0, 102 * TAO) == "AuthorityBonded"
    chain.block(evidence=[double_vote(chain, 2)])
    run_era(chain, *EVERYBODY)
    assert hotkey_stake(chain.state, 0, hot) == 102 * TAO - 102 * TAO // 100


def test_new_authority_key_does_not_lift_the_jail_and_time_does() -> None:
    chain = slashing_chain()
    chain.send("bob", "balances.transfer_keep_alive", account("authority-2/hot"), TAO)
    chain.block(evidence=[double_vote(chain, 2)])
    assert chain.attempt("authority-2/hot", "authority.register", *proof(chain, "authority-2/hot")) == "ok"
    replacement = dev_keypair("new/vote").public_key
    sizes = []
    for _ in range(4):
        run_era(chain, *EVERYBODY)
        assert key_of(2) not in keys(chain)
        sizes.append(replacement in keys(chain))
    assert sizes == [False, False, True, True]  # jailed in eras 1 and 2


def test_set_of_nobody_keeps_the_old_one() -> None:
    stakes = DevChain().spec.stakes
    spec = dev_spec(min_authority_weight=Rao(103 * TAO), min_set=1)
    chain = DevChain(spec)
    assert len(chain.authorities.members) == 1
    lonely = next(n for n in EVERYBODY if key_of(n) == chain.authorities.members[0].key)
    chain.block(evidence=[double_vote(chain, lonely)])
    run_era(chain)
    assert keys(chain) == [key_of(lonely)]
    assert chain.sets[1].seed != chain.sets[0].seed
    assert len(stakes) == AUTHORITIES


# --- restart files ----------------------------------------------------------------------------------------------------


def test_set_of_a_restart_file_takes_over_the_running_era() -> None:
    chain = bigger_chain()
    chain.skip(5)
    survivors = [m for m in chain.authorities.members if m.key in (key_of(0), key_of(1))]
    stranger = Authority(AuthorityKey(dev_keypair("new/vote").public_key), 7)
    members = tuple(sorted([*survivors, stranger], key=lambda member: member.key))
    chain.authorities = AuthoritySet(members, Hash32(bytes([9] * 32)))
    chain.sets.append(chain.authorities)
    chain.proposer = members.index(stranger)
    outcome = chain.block(chain.sign("alice", "balances.transfer_keep_alive", account("bob"), TAO))
    assert outcome.fees > 0
    check_conservation(chain)  # nobody to pay: the stranger's fees are burned
    kept = read_era_set(chain.state, 0)
    assert kept is not None
    assert kept[0] == chain.authorities
    run_era(chain, 0, 1)
    assert sorted(keys(chain)) == sorted(key_of(n) for n in (0, 1))


def test_members_of_a_restart_set_are_bonded_with_what_they_have() -> None:
    chain = newcomer_chain()
    assert chain.attempt("new/hot", "authority.register", *proof(chain, "new/hot")) == "ok"
    newcomer = Authority(AuthorityKey(dev_keypair("new/vote").public_key), 40 * TAO)
    survivor = Authority(AuthorityKey(key_of(0)), 900 * TAO)  # more than stands behind it
    members = tuple(sorted([newcomer, survivor], key=lambda member: member.key))
    chain.authorities = AuthoritySet(members, Hash32(bytes([9] * 32)))
    chain.block()
    assert chain.attempt("bob", "stake.remove_stake", account("new/hot"), 0, 11 * TAO) == "AuthorityBonded"
    assert chain.attempt("bob", "stake.remove_stake", account("new/hot"), 0, 10 * TAO) == "ok"
    assert bonded_stake(chain.state, account("new/hot"), 2, chain.spec.unbond_eras) == 40 * TAO
    assert bonded_stake(chain.state, account("new/hot"), 3, chain.spec.unbond_eras) == 0
    assert bonded_stake(chain.state, account("authority-0/hot"), 0, chain.spec.unbond_eras) == 100 * TAO


def test_owner_of_the_zero_hotkey_gets_no_fees_of_members_without_hotkey() -> None:
    chain = bigger_chain()
    assert chain.attempt("bob", "keys.try_associate_hotkey", bytes(32)) == "ok"
    stranger = Authority(AuthorityKey(dev_keypair("new/vote").public_key), 7)
    chain.authorities = AuthoritySet((stranger,), Hash32(bytes([9] * 32)))
    chain.proposer = 0
    before = free_balance(chain.state, account("bob")), int(chain.state.read("chain/burned", 0))
    outcome = chain.block(chain.sign("alice", "keys.try_associate_hotkey", account("new/hot")))
    after = free_balance(chain.state, account("bob")), int(chain.state.read("chain/burned", 0))
    assert outcome.fees > 0
    assert after == (before[0], before[1] + outcome.fees)


def test_member_without_hotkey_cannot_be_punished_and_carries_no_bond_into_a_kept_set() -> None:
    chain = DevChain(dev_spec(min_authority_weight=Rao(1000 * TAO), stakes=heavy_stakes()))
    chain.skip(3)
    stranger = Authority(AuthorityKey(dev_keypair("new/vote").public_key), 7)
    chain.authorities = AuthoritySet((stranger,), Hash32(bytes([9] * 32)))
    chain.proposer = 0
    chain.skip(1)
    pair = [chain.vote(0, Statement(Kind.NOTARIZE, Era(0), View(1), View(0), Hash32(bytes([n] * 32)))) for n in (1, 2)]
    with pytest.raises(InvalidError, match="no hotkey that could be punished"):
        chain.block(evidence=[make_evidence(*pair)])
    jail_everybody(chain)
    run_era(chain)
    assert keys(chain) == [stranger.key]  # nobody qualifies, so the present set stays


def heavy_stakes() -> tuple[tuple[AccountId, AccountId, Rao], ...]:
    return tuple((hotkey, coldkey, Rao(stake * 100)) for hotkey, coldkey, stake in dev_spec().stakes)


def jail_everybody(chain: DevChain) -> None:
    mark = chain.state.begin()
    for row in range(AUTHORITIES):
        chain.state.write("authorities/jailed_until", row, 1000)
    chain.state.commit(mark)


def test_fifth_piece_of_evidence_makes_the_block_invalid(chain: DevChain) -> None:
    pieces = [double_vote(chain, n % 4, view=n + 1) for n in range(5)]
    with pytest.raises(InvalidError, match="5 pieces of evidence"):
        chain.block(evidence=pieces)


def test_builder_stops_at_four_pieces_of_evidence() -> None:
    chain = bigger_chain()
    pieces = [double_vote(chain, n) for n in range(4)]
    body, _, _ = chain.selected(evidence=[*pieces, double_vote(chain, 0, view=9)])
    assert body.evidence == tuple(pieces)


def test_proposer_outside_the_set_makes_the_block_invalid(chain: DevChain) -> None:
    context = replace(chain.context(), proposer_index=4)
    with pytest.raises(InvalidError, match="proposer 4 of 4"):
        chain.rules.apply_block(chain.state, context, EMPTY_BODY)


def test_genesis_set_is_the_one_the_rules_name(chain: DevChain) -> None:
    assert chain.rules.genesis_authorities(chain.spec, chain.genesis) == chain.authorities
    kept = read_era_set(chain.state, 0)
    assert kept is not None
    assert kept[0] == chain.authorities
