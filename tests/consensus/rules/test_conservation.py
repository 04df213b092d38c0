"""Whatever is in a block, TAO and tokens add up, and what fails leaves nothing (CHAIN 6.3).

Hypothesis plays random calls, good and bad, against a model that knows nothing of the rules but their sums.
"""

from typing import Any

from dev_chain import DevChain, account, check_conservation, dev_spec, packed, subnet
from hypothesis import given, settings
from hypothesis import strategies as st
from yumad.consensus.profiles import TAO
from yumad.consensus.types import InvalidError, Micros

PEOPLE = ("alice", "bob", "carol", "neuron-1", "authority-0/cold", "authority-0/hot", "stranger")
HOTKEYS = ("neuron-0", "neuron-1", "authority-0/hot", "fresh-hot", "stranger")

amounts = st.one_of(
    st.sampled_from([0, 1, 499, 500, 2_000_000, TAO, 999 * TAO, 1000 * TAO, (1 << 63), (1 << 64) - 1]),
    st.integers(0, 3 * TAO),
)
people = st.sampled_from(PEOPLE)
accounts = people.map(account)
hotkeys = st.sampled_from(HOTKEYS).map(account)
netuids = st.sampled_from([0, 1, 2])
vectors = st.lists(st.integers(0, 6), max_size=5).map(packed)

calls: st.SearchStrategy[tuple[str, tuple[Any, ...]]] = st.one_of(
    st.tuples(st.just("balances.transfer_keep_alive"), st.tuples(accounts, amounts)),
    st.tuples(st.just("balances.transfer_allow_death"), st.tuples(accounts, amounts)),
    st.tuples(st.just("balances.transfer_all"), st.tuples(accounts, st.booleans())),
    st.tuples(st.just("balances.faucet"), st.just(())),
    st.tuples(st.just("stake.add_stake"), st.tuples(hotkeys, netuids, amounts)),
    st.tuples(st.just("stake.remove_stake"), st.tuples(hotkeys, netuids, amounts)),
    st.tuples(st.just("keys.try_associate_hotkey"), st.tuples(hotkeys)),
    st.tuples(st.just("neuron.burned_register"), st.tuples(netuids, hotkeys)),
    st.tuples(st.just("neuron.register_limit"), st.tuples(netuids, hotkeys, amounts)),
    st.tuples(st.just("weights.set_weights"), st.tuples(netuids, vectors, vectors, st.just(0))),
    st.tuples(st.just("authority.heartbeat"), st.tuples(st.binary(max_size=8))),
)
transactions = st.tuples(people, calls, st.sampled_from([0, 0, 1, 1000]))


def small_chain() -> DevChain:
    chosen = {"max_allowed_uids": 6, "immunity_period": 3, "tempo": 4, "weights_set_rate_limit": 1}
    return DevChain(dev_spec(subnets=(subnet(chosen),), era_blocks=6, slash_ppm=10_000, slot_length=Micros(1_000_000)))


@settings(max_examples=40)
@given(st.lists(st.lists(transactions, max_size=4), min_size=1, max_size=14))
def test_random_calls_never_make_or_lose_anything_and_the_builders_block_is_valid(
    blocks: list[list[tuple[str, tuple[str, tuple[Any, ...]], int]]],
) -> None:
    builder, voter = small_chain(), small_chain()
    for content in blocks:
        nonces = {name: builder.nonce(name) for name in PEOPLE}
        candidates = []
        for name, (call, args), tip in content:
            candidates.append(builder.sign(name, call, *args, nonce=nonces[name], tip=tip))
            nonces[name] += 1
        body, outcome, _ = builder.selected(*candidates)
        check_conservation(builder)
        assert outcome.fees == sum(transaction.fee for transaction in outcome.transactions)
        assert all(not transaction.events for transaction in outcome.transactions if transaction.code)
        assert voter.block(*body.transactions) == outcome
        assert voter.state.root() == builder.state.root()


@settings(max_examples=60)
@given(transactions)
def test_failing_call_changes_only_nonce_fee_and_the_authors_reward(
    transaction: tuple[str, tuple[str, tuple[Any, ...]], int],
) -> None:
    name, (call, args), tip = transaction
    chain, empty = small_chain(), small_chain()
    before = chain.state.root()
    try:
        outcome = chain.block(chain.sign(name, call, *args, tip=tip))
    except InvalidError:
        assert chain.state.root() == before
        return
    if outcome.transactions[0].code == 0:
        return
    empty.block()
    changed = {
        column
        for column in chain.state.names()
        if chain.state.array(column).tobytes() != empty.state.array(column).tobytes()
    }
    assert changed <= {"accounts/free", "accounts/nonce", "accounts/key", "accounts/reaped", "chain/burned"}
