"""What a cut of an authority's root stake does to the ledger around it (CHAIN 1.3, DTAO 4.6)."""

from dev_chain import DevChain, account, check_conservation
from yumad.consensus.profiles import TAO
from yumad.consensus.rules.v1.boundary import cut_root_stake
from yumad.consensus.rules.v1.root_index import root_holders
from yumad.consensus.rules.v1.root_stake import accrue_root_dividend, owed_dividend, root_rates
from yumad.consensus.rules.v1.stakes import position, positions_of_hotkey


def test_cut_of_root_stake_leaves_owed_root_dividends_and_the_invariants_whole() -> None:
    chain = DevChain()
    hot, bob = account("authority-2/hot"), account("bob")
    chain.state.add("subnets/alpha_out", 1, 10**9 + 10**8)
    accrue_root_dividend(chain.state, 1, hot, 10**9)
    chain.send("bob", "stake.add_stake", hot, 0, 10 * TAO)
    accrue_root_dividend(chain.state, 1, hot, 10**8)
    [(_, rate)] = root_rates(chain.state, hot)
    owed = owed_dividend(chain.state, 1, hot, bob, rate) >> 32
    assert owed > 0
    cut_root_stake(chain.state, hot, 50 * TAO)
    assert position(chain.state, 0, hot, bob) < 6 * TAO
    assert abs((owed_dividend(chain.state, 1, hot, bob, rate) >> 32) - owed) <= 1
    assert chain.state.read("subnets/account", 0) == chain.state.read("subnets/tao_reserve", 0)
    check_conservation(chain)


def test_cut_of_all_root_stake_takes_its_holders_off_the_claim_list() -> None:
    chain = DevChain()
    hot = account("authority-2/hot")
    chain.send("bob", "stake.add_stake", hot, 0, 10 * TAO)
    listed = root_holders(chain.state)
    assert cut_root_stake(chain.state, hot, 10**18) == 112 * TAO
    assert root_holders(chain.state) == listed - 2
    assert positions_of_hotkey(chain.state, 0, hot) == []
