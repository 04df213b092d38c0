"""The genesis state and what can be read from it."""

from dataclasses import replace

import pytest
from dev_chain import AUTHORITIES, DevChain, account, check_conservation, dev_spec, packed, subnet
from yumad.consensus.chain_spec import WeightsSpec
from yumad.consensus.profiles import DEV, TAO
from yumad.consensus.rules.v1.calls.table import call_named
from yumad.consensus.rules.v1.reads import READS
from yumad.consensus.rules.v1.stakes import position
from yumad.consensus.state.state import State
from yumad.consensus.types import InvalidError, Netuid, Rao


def ask(chain: DevChain, name: str, *args: object) -> object:
    return READS[name].answer(chain.state, *args)


def test_genesis_holds_the_specs_balances_stakes_and_neurons() -> None:
    chain = DevChain()
    check_conservation(chain)
    assert ask(chain, "balance", account("alice")) == 1000 * TAO
    assert ask(chain, "chain")["issuance"] == chain.spec.issuance  # type: ignore[index]
    stake = ask(chain, "stake", account("authority-3/hot"), 0)
    assert stake["root_stake"] == stake["stake"] == 103 * TAO  # type: ignore[index]
    members = ask(chain, "metagraph", 1)["members"]  # type: ignore[index]
    assert [neuron["hotkey"] for neuron in members] == [account(f"neuron-{n}") for n in range(4)]
    assert [neuron["permit"] for neuron in members] == [True, True, False, False]


def test_genesis_is_the_same_state_every_time_and_another_for_another_spec() -> None:
    first, second = DevChain(), DevChain()
    assert first.state.root() == second.state.root()
    other = DevChain(dev_spec(balances=((account("alice"), Rao(TAO)),)))
    assert other.state.root() != first.state.root()


def test_genesis_weights_are_stored_as_given() -> None:
    rows = (WeightsSpec(0, 1, packed([3, 0]), packed([65_535, 7])),)
    chain = DevChain(dev_spec(subnets=(subnet(weights=rows),)))
    assert ask(chain, "weights", 1, 0, 1) == [[3, 65_535], [0, 7]]
    assert ask(chain, "weights", 1, 0, 2) == []


def test_genesis_state_loaded_from_its_chunks_executes_the_same_blocks() -> None:
    chain = DevChain()
    chain.skip(5)
    records = chain.state.columns()

    def chunks(name: str) -> list[tuple[int, bytes]]:
        data = chain.state.array(name).tobytes()
        return [(at // 1024, data[at : at + 1024]) for at in range(0, len(data), 1024)]

    loaded = State.from_chunks(records, chunks, 1)
    assert loaded.root() == chain.state.root()
    twin = DevChain()
    twin.skip(5)
    twin.state = loaded
    data = chain.sign("alice", "balances.transfer_keep_alive", account("bob"), TAO)
    assert twin.block(data) == chain.block(data)
    chain.skip(20)
    twin.skip(20)
    assert twin.state.root() == chain.state.root()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"parameters": replace(DEV.parameters, max_epochs_per_block=0)}, "max_epochs_per_block is 0"),
        ({"parameters": replace(DEV.parameters, max_mechanism_count=17)}, "max_mechanism_count is 17"),
        ({"parameters": replace(DEV.parameters, max_blocks_since_step=20)}, "max_blocks_since_step is 20"),
        ({"subnets": (subnet({"bonds_moving_average": 1_000_001}),)}, "bonds_moving_average"),
        ({"subnets": (subnet({"alpha_low": 60_000}),)}, "alpha_low"),
        ({"balances": ((account("alice"), Rao(1 << 62)),)}, "balances and stakes"),
        (
            {"subnets": (replace(subnet(), neurons=(replace(subnet().neurons[0], stake=Rao(1 << 62)),)),)},
            "stakes and the alpha reserve are",
        ),
        ({"subnets": (subnet({"immune_owner_uids_limit": 0}),)}, "immune_owner_uids_limit"),
        ({"parameters": replace(DEV.parameters, ck_burn=(1 << 64) - 1)}, "ck_burn"),
        ({"parameters": replace(DEV.parameters, subnet_limit=4_096)}, "subnet_limit is 4096"),
        ({"subnets": (replace(subnet(), netuid=Netuid(4_096)),)}, "subnet 4096: numbers are 1 to 4095"),
        ({"subnets": (subnet({"mechanism_count": 0}),)}, "mechanism_count is 0, allowed is 1 to 16"),
        ({"subnets": (subnet({"mechanism_count": 17}),)}, "mechanism_count is 17"),
        ({"subnets": (subnet({"fee_rate": 10_001}),)}, "fee_rate is 10001"),
    ],
)
def test_genesis_refuses_parameters_the_rules_cannot_run_with(fields: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidError, match=text) as refused:
        DevChain(dev_spec(**fields))
    assert refused.value.remedy


def test_account_read_shows_both_sides_of_a_key() -> None:
    chain = DevChain()
    chain.send("bob", "stake.add_stake", account("neuron-1"), 0, 3 * TAO)
    bob = ask(chain, "account", account("bob"))
    assert bob["nonce"] == 1  # type: ignore[index]
    [held] = bob["stakes"]  # type: ignore[index]
    assert (held["netuid"], held["hotkey"], held["amount"]) == (0, account("neuron-1"), 3 * TAO)
    assert held["tao_value"] == held["at_sale"] == 3 * TAO
    alice = ask(chain, "account", account("alice"))
    assert sorted(alice["hotkeys"]) == sorted(account(f"neuron-{n}") for n in range(4))  # type: ignore[index]
    assert ask(chain, "account", account("neuron-1"))["owner"] == account("alice")  # type: ignore[index]


def test_quote_of_a_swap_is_what_the_swap_does_to_the_unit() -> None:
    chain = DevChain()
    hotkey = account("neuron-1")
    chain.send("bob", "stake.add_stake", hotkey, 0, 10 * TAO)
    call = call_named("stake.swap_stake")
    assert call is not None
    for origin, destination, amount in ((0, 1, 3 * TAO), (1, 0, TAO)):
        quote = ask(chain, "quote_swap", origin, destination, amount)
        held = position(chain.state, destination, hotkey, account("bob"))
        call.execute(chain.state, chain.context(), account("bob"), (hotkey, origin, destination, amount))
        assert position(chain.state, destination, hotkey, account("bob")) - held == quote["out"] > 0  # type: ignore[index]
        assert quote["fee"] > 0  # type: ignore[index]


def test_quote_within_one_subnet_needs_no_pool() -> None:
    quote = ask(DevChain(), "quote_swap", 1, 1, 5)
    assert (quote["out"], quote["fee"], quote["refused"]) == (5, 0, None)  # type: ignore[index]


def test_quote_of_a_swap_too_small_for_the_call_names_its_error() -> None:
    assert ask(DevChain(), "quote_swap", 0, 1, 2_000_000)["refused"] == "AmountTooLow"  # type: ignore[index]


def test_authorities_read_lists_every_registered_one() -> None:
    listed = ask(DevChain(), "authorities")
    assert len(listed) == AUTHORITIES  # type: ignore[arg-type]
    assert all(entry["bonded_stake"] == entry["root_stake"] for entry in listed)  # type: ignore[union-attr]
    assert ask(DevChain(), "era_members", 0) == [
        entry["hotkey"]
        for entry in sorted(listed, key=lambda entry: bytes.fromhex(entry["authority_key"]))  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize("era", [1, (1 << 32) - 1, 1 << 32, (1 << 64) - 1])
def test_members_of_an_era_that_is_not_kept_are_nobody(era: int) -> None:
    assert ask(DevChain(), "era_members", era) == []


def test_epoch_read_gives_the_last_epoch() -> None:
    chain = DevChain()
    chain.skip(12)
    result = ask(chain, "epoch_result", 1)
    assert (result["block"], result["epoch_index"]) == (10, 1)  # type: ignore[index]
    assert result["emission"] == chain.outcomes[9].epochs[0].emission > 0  # type: ignore[index]
    assert ask(chain, "subnet", 1)["blocks_to_epoch"] == 8  # type: ignore[index]


@pytest.mark.parametrize("name", ["subnet", "hyperparameters", "metagraph", "epoch_result"])
def test_reading_a_subnet_that_does_not_exist_says_so(name: str) -> None:
    with pytest.raises(InvalidError, match="subnet 9 does not exist"):
        ask(DevChain(), name, 9)
    with pytest.raises(InvalidError, match="subnet 0 does not exist"):
        ask(DevChain(), name, 0)


def plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(type(key) is str and plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(plain, value))
    return value is None or type(value) in (int, bool, str) or (type(value) is bytes and len(value) == 32)


def test_reads_give_plain_values_and_bytes_are_accounts_only() -> None:
    chain = DevChain()
    chain.skip(11)
    arguments = {
        "ACCOUNT": account("alice"),
        "U16": 1,
        "U8": 0,
        "U64": 0,
        "RAO": TAO,
    }
    for read in READS.values():
        answer = ask(chain, read.name, *(arguments[argument.kind.name] for argument in read.arguments))
        assert plain(answer), read.name
        assert read.doc
