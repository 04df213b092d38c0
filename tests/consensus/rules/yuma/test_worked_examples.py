"""The worked examples of YUMA section 9, number by number."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from epoch_cases import epoch_case, parameters
from yumad.consensus.rules.v1.yuma.epoch import run_epoch
from yumad.consensus.rules.v1.yuma.inputs import EpochInput
from yumad.consensus.rules.v1.yuma.mechanisms import run_mechanisms
from yumad.consensus.rules.v1.yuma.outputs import EpochOutput, EpochTrace
from yumad.consensus.rules.v1.yuma.sparse_rows import SparseRows, rows_from_lists


def common_input(**changes: Any) -> EpochInput:
    """The input of examples A, B and C (YUMA 9.1)."""
    return epoch_case(
        [600 * 10**9, 400 * 10**9, 0, 0],
        [[(2, 65535), (3, 21845)], [(2, 65535), (3, 65535)]],
        [[(2, 65535), (3, 30000)], [(2, 40000), (3, 65535)]],
        permits=[1, 1, 0, 0],
        last_update=[990, 995, 10, 10],
        registration=[1, 1, 1, 1],
        **changes,
    )


def traced(case: EpochInput) -> tuple[EpochOutput, EpochTrace]:
    output = run_epoch(case, trace=True)
    assert output.trace is not None
    return output, output.trace


def entries(rows: SparseRows) -> dict[tuple[int, int], int]:
    return {(i, j): value for i, row in enumerate(rows.to_lists()) for j, value in row}


def test_common_input_gives_the_published_consensus_and_incentive() -> None:
    output, trace = traced(common_input())
    assert trace.stake.tolist() == trace.active_stake.tolist() == [2576980377, 1717986918, 0, 0]
    assert entries(trace.weights) == {(0, 2): 3221225472, (0, 3): 1073741824, (1, 2): 2147483648, (1, 3): 2147483648}
    assert trace.consensus.tolist() == [0, 0, 3221225472, 1073741824]
    assert entries(trace.clipped_weights) == {
        (0, 2): 3221225472,
        (0, 3): 1073741824,
        (1, 2): 2147483648,
        (1, 3): 1073741824,
    }
    assert trace.validator_trust.tolist() == [4294967296, 3221225472, 0, 0]
    assert trace.incentive.tolist() == [0, 0, 3101920825, 1193046470]
    assert trace.server_emission_norm.tolist() == [0, 0, 1550960412, 596523235]
    assert output.server_emission.tolist() == [0, 0, 361111111, 138888888]
    assert output.stake_weight.tolist() == [39320, 26213, 0, 0]
    assert output.consensus.tolist() == [0, 0, 49151, 16383]
    assert output.incentive.tolist() == [0, 0, 47330, 18204]
    assert output.validator_trust.tolist() == [65535, 49151, 0, 0]
    assert output.validator_permit.tolist() == [True, True, False, False]
    assert output.active.all()


def test_example_a_yuma2_gives_the_published_bonds_and_dividends() -> None:
    output, trace = traced(common_input())
    assert entries(trace.ema_bonds) == {
        (0, 2): 4294967296,
        (0, 3): 2238484195,
        (1, 2): 2542936271,
        (1, 3): 4294967296,
    }
    assert output.bonds.to_lists()[:2] == [[[2, 65535], [3, 34156]], [[2, 38801], [3, 65535]]]
    assert trace.dividends.tolist() == [2357113103, 1937854192, 0, 0]
    assert output.dividends.tolist() == [35966, 29568, 0, 0]
    assert trace.validator_emission_norm.tolist() == [1178556551, 968927096, 0, 0]
    assert output.validator_emission.tolist() == [274404080, 225595919, 0, 0]
    assert output.emission.tolist() == [274404080, 225595919, 361111111, 138888888]


def test_example_b_yuma3_gives_the_published_bonds_and_dividends() -> None:
    output, trace = traced(common_input(yuma3=True))
    assert entries(trace.ema_bonds) == {
        (0, 2): 4187593113,
        (0, 3): 1876873181,
        (1, 2): 2574080364,
        (1, 3): 3972844748,
    }
    assert output.bonds.to_lists()[:2] == [[[2, 63896], [3, 28638]], [[2, 39276], [3, 60619]]]
    assert trace.dividends.tolist() == [2724935020, 1570032275, 0, 0]
    assert output.dividends.tolist() == [41578, 23956, 0, 0]
    assert trace.validator_emission_norm.tolist() == [1362467510, 785016137, 0, 0]
    assert output.validator_emission.tolist() == [317224187, 182775812, 0, 0]


def test_example_c_liquid_alpha_gives_the_published_bonds_and_dividends() -> None:
    output, trace = traced(common_input(yuma3=True, liquid_alpha=True, bonds_penalty=32768))
    assert entries(trace.weights_for_bonds)[1, 3] == 1610604544
    assert entries(trace.ema_bonds) == {
        (0, 2): 3527049407,
        (0, 3): 1332332166,
        (1, 2): 2287791426,
        (1, 3): 1998580158,
    }
    assert output.bonds.to_lists()[:2] == [[[2, 53817], [3, 20329]], [[2, 34908], [3, 30495]]]
    assert trace.dividends.tolist() == [2775843486, 1519123809, 0, 0]
    assert output.dividends.tolist() == [42355, 23179, 0, 0]
    assert output.validator_emission.tolist() == [323150712, 176849287, 0, 0]


def every_mask(**changes: Any) -> EpochInput:
    """The input of example D (YUMA 9.8)."""
    settings = {"bonds_penalty": 40000, **changes}
    never = (1 << 64) - 1
    return epoch_case(
        [500, 300, 300, 90, 0, 50],
        [
            [(4, 30000), (3, 65535), (1, 10000), (0, 5000)],
            [(3, 65535), (4, 65535), (0, 20000)],
            [(3, 1), (0, 65535)],
            [(0, 65535)],
            [],
            [(5, 65535), (3, 32768), (0, 100)],
        ],
        [[(3, 20000), (1, 65535), (5, 40000)], [(0, 65535), (3, 100), (5, 65535)], [(0, 30000)]],
        permits=[1, 1, 1, 0, 0, 0],
        last_update=[1900, 1950, 1400, 1990, 10, 1999],
        registration=[1, 1, 1, 1700, 1920, 1],
        block=2000,
        last_step=1640,
        cutoff_blocks=500,
        owner_uid=5,
        commit_block=[never, 1910, never, never, never, never],
        yuma3=True,
        liquid_alpha=True,
        max_allowed_validators=2,
        stake_threshold=100,
        **settings,
    )


def test_example_d_every_mask_at_once_gives_the_published_numbers() -> None:
    output, trace = traced(every_mask())
    assert output.active.tolist() == [True, True, False, True, False, True]
    assert trace.stake.tolist() == [1867377085, 1120426251, 1120426251, 0, 0, 186737708]
    assert trace.active_stake.tolist() == [2526451350, 1515870810, 0, 0, 0, 252645134]
    assert trace.weights.to_lists() == [
        [[3, 3726361047], [1, 568606248]],
        [[3, 3290707683], [0, 1004259612]],
        [[0, 4294967296]],
        [],
        [],
        [[5, 2860387201], [3, 1430215423], [0, 4364671]],
    ]
    assert trace.consensus.tolist() == [0, 568606248, 0, 3726361047, 0, 0]
    assert trace.validator_trust.tolist() == [4294967295, 3290707683, 0, 0, 0, 1430215423]
    assert trace.incentive.tolist() == [0, 380846503, 0, 3914120792, 0, 0]
    assert trace.weights_for_bonds.to_lists() == [
        [[1, 568606248], [3, 3726361047]],
        [[0, 391298835], [3, 3290707683]],
        [[0, 1673487296]],
        [],
        [],
        [[0, 1700646], [3, 1430215423], [5, 1114518764]],
    ]
    assert trace.ema_bonds.to_lists() == [
        [[1, 959619121], [3, 2613469157]],
        [[0, 794503074], [3, 2307925326]],
        [[0, 1760502723]],
        [],
        [],
        [[0, 1192750], [3, 1003076151], [5, 798625338]],
    ]
    assert trace.dividends.tolist() == [2930622017, 1272191453, 0, 0, 0, 92153824]
    assert output.server_emission.tolist() == [0, 44336368, 0, 455663631, 0, 0]
    assert output.validator_emission.tolist() == [341169305, 148102577, 0, 0, 0, 10728117]
    assert output.emission.tolist() == [341169305, 192438945, 0, 455663631, 0, 10728117]
    assert output.stake_weight.tolist() == [28493, 17096, 17096, 0, 0, 2849]
    assert output.consensus.tolist() == [0, 8676, 0, 56858, 0, 0]
    assert output.incentive.tolist() == [0, 5811, 0, 59723, 0, 0]
    assert output.dividends.tolist() == [44717, 19411, 0, 0, 0, 1406]
    assert output.validator_trust.tolist() == [65534, 50211, 0, 0, 0, 21823]
    assert output.validator_permit.tolist() == [True, False, True, False, False, True]
    assert output.bonds.to_lists() == [
        [[1, 14642], [3, 39877]],
        [],
        [[0, 26862]],
        [],
        [],
        [[0, 18], [3, 15305], [5, 12185]],
    ]


def test_example_d_without_penalty_keeps_submission_order_and_hides_entries_from_the_cursor() -> None:
    with_penalty, _ = traced(every_mask())
    output, _ = traced(every_mask(bonds_penalty=0))
    assert output.bonds.to_lists() == [
        [[3, 39877], [1, 14437]],
        [],
        [[0, 61934]],
        [],
        [],
        [[5, 37886], [3, 15305], [0, 46]],
    ]
    assert not output.bonds.ascending
    assert output.dividends.tolist() == with_penalty.dividends.tolist()
    assert output.emission.tolist() == with_penalty.emission.tolist()


def test_example_e_two_mechanisms_fold_into_the_published_columns() -> None:
    first = common_input(yuma3=True)
    second = epoch_case(
        [600 * 10**9, 400 * 10**9, 0, 0],
        [[(3, 65535)], [(2, 65535)]],
        permits=[1, 1, 0, 0],
        last_update=[900, 0, 0, 0],
        registration=[1, 1, 1, 1],
        yuma3=True,
    )
    subnet = run_mechanisms([first, second], 1_000_000_001, None)
    one, two = subnet.mechanisms
    assert one.server_emission.tolist() == [0, 0, 180555555, 69444444]
    assert one.validator_emission.tolist() == [158612093, 91387906, 0, 0]
    assert two.server_emission.tolist() == [0, 0, 0, 250000000]
    assert two.validator_emission.tolist() == [250000000, 0, 0, 0]
    assert two.bonds.to_lists() == [[[3, 6553]], [], [], []]
    assert subnet.dividends.tolist() == [53556, 11978, 0, 0]
    assert subnet.stake_weight.tolist() == [39319, 26212, 0, 0]
    assert subnet.consensus.tolist() == [0, 0, 24575, 40958]
    assert subnet.validator_trust.tolist() == [65534, 24575, 0, 0]
    assert subnet.emission.tolist() == [204306045, 45693953, 90277777, 159722221]
    assert subnet.server_emission.tolist() == [0, 0, 180555555, 319444444]
    assert subnet.validator_emission.tolist() == [408612093, 91387906, 0, 0]
    assert subnet.stake.tolist() == [1_200 * 10**9, 800 * 10**9, 0, 0]


YUMA2_BONDS = [
    (4, [16383, 32767, 49151, 65535]),
    (4, [14582, 32767, 49151, 65535]),
    (4, [12603, 28321, 49151, 65535]),
    (7, [12602, 28320, 49150, 65535]),
    (7, [10951, 24609, 49150, 65535]),
    (7, [9559, 21482, 49150, 65535]),
    (7, [8376, 18824, 49150, 65535]),
]
"""Column looked at, and the bonds of uids 0-3 in it, after each epoch (YUMA 9.7)."""

YUMA2_EMISSION = [
    [49999998, 99999999, 150000000, 200000001, 49998779, 100000610, 149996337, 200004272],
    [44998351, 101110561, 151667215, 202223870, 49998779, 100000610, 149996337, 200004272],
    [40496805, 90999783, 157929636, 210573773, 49998779, 100000610, 149996337, 200004272],
    [99999999, 199999999, 299999999, 399999999, 0, 0, 0, 0],
    [36443733, 81898628, 163565493, 218092144, 0, 0, 0, 500000000],
    [32799427, 73706612, 168638129, 224855830, 0, 0, 0, 500000000],
    [29518068, 66336137, 173203134, 230942659, 0, 0, 0, 500000000],
]


def test_yuma2_of_eight_uids_follows_the_published_epochs() -> None:
    spread = [(4, 16383), (5, 32767), (6, 49149), (7, 65535)]
    rows = [spread, spread, spread, spread]
    changes = {1: (0, [(0, 65535)]), 2: (1, [(1, 65535)]), 3: (2, [(2, 65535)]), 4: (2, [(7, 65535)])}
    last_update = [1, 1, 1, 1, 0, 0, 0, 0]
    bonds = rows_from_lists([], 8)
    permits = np.array([1, 1, 1, 1, 0, 0, 0, 0], dtype=np.bool_)
    for step, ((column, expected), emission) in enumerate(zip(YUMA2_BONDS, YUMA2_EMISSION, strict=True)):
        if step in changes:
            uid, row = changes[step]
            rows = [row if index == uid else old for index, old in enumerate(rows)]
            last_update[uid] = step + 1
        case = epoch_case(
            [1, 2, 3, 4, 0, 0, 0, 0],
            rows,
            permits=permits.tolist(),
            last_update=last_update,
            registration=[0] * 8,
            block=step + 1,
            tempo=1,
            last_step=0,
            max_allowed_validators=8,
        )
        output = run_epoch(replace(case, bonds=bonds))
        bonds, permits = output.bonds, output.validator_permit
        assert [dict(map(tuple, row))[column] for row in bonds.to_lists()[:4]] == expected, f"epoch {step + 1}"
        assert output.emission.tolist() == emission, f"epoch {step + 1}"


def test_inactive_stake_of_four_uids_follows_the_published_epochs() -> None:
    rows = [[(2, 65535), (3, 65535)], [(2, 65535), (3, 65535)]]
    bonds = rows_from_lists([], 4)

    def epoch(block: int, last_update: list[int]) -> EpochOutput:
        nonlocal bonds
        case = epoch_case(
            [1, 1, 1, 1],
            rows,
            permits=[1, 1, 1, 1],
            last_update=last_update,
            registration=[0, 0, 0, 0],
            block=block,
            tempo=1,
            last_step=0,
        )
        output = run_epoch(replace(case, bonds=bonds))
        bonds = output.bonds
        return output

    fresh = epoch(2, [1, 1, 1, 1])
    assert fresh.dividends.tolist() == [32767, 32767, 0, 0]
    assert fresh.emission.tolist() == [250000000] * 4
    one_left = epoch(5003, [5002, 1, 1, 1])
    assert one_left.dividends.tolist()[:2] == [36044, 29490]
    assert one_left.emission.tolist()[:2] == [274999999, 224999999]
    assert one_left.bonds.to_lists()[1][0] == [2, 53619]
    both = epoch(5004, [5002, 5003, 1, 1])
    assert both.dividends.tolist()[:2] == [35716, 29818]
    assert both.emission.tolist()[:2] == [272501132, 227498866]
    assert both.bonds.to_lists()[1][0] == [2, 54712]


@pytest.mark.parametrize("liquid", [True, False])
def test_yuma3_of_three_validators_follows_the_published_epochs(liquid: bool) -> None:
    """Validators 0, 1, 2 (stakes 8, 1, 1) move from server 3 to server 4 one after the other."""
    published = [
        (0.8, 0.1, 0.1),
        (1.0, 0.0, 0.0),
        (0.9382, 0.0618, 0.0),
        (0.8819, 0.0773, 0.0407),
        (0.8564, 0.0844, 0.0592),
        (0.8418, 0.0884, 0.0697),
    ]
    first_bonds = [1638, 3235, 4792, 6310, 7790, 9233]
    bonds = rows_from_lists([], 5)
    settings = parameters(
        yuma3=True,
        liquid_alpha=liquid,
        alpha_low=6553,
        alpha_high=19660,
        bonds_penalty=0,
        bonds_moving_average=975000,
    )
    for step, expected in enumerate(published):
        # Without liquid alpha only the first validator's steadily growing bond is asserted: nobody moves.
        moved = (step if liquid else 0,) * 3
        servers = [4 if moved[uid] > uid else 3 for uid in range(3)]
        case = epoch_case(
            [8, 1, 1, 0, 0],
            [[(server, 65535)] for server in servers],
            permits=[1, 1, 1, 0, 0],
            last_update=[step + 2] * 5,
            registration=[0] * 5,
            block=step + 3,
            tempo=1,
            last_step=step + 2 if step else 0,
        )
        output = run_epoch(replace(case, bonds=bonds, parameters=settings))
        bonds = output.bonds
        if liquid:
            shares = [parts / 65535 for parts in output.dividends.tolist()[:3]]
            assert shares == pytest.approx(expected, abs=1e-3), f"epoch {step + 1}"
        else:
            assert bonds.to_lists()[0] == [[3, first_bonds[step]]], f"epoch {step + 1}"
