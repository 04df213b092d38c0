"""The published scenarios of data/scenarios as scenario files of `yumad simulate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

U16 = 65535

SIMULATOR_VARIANTS: dict[str, dict[str, Any]] = {
    "yuma1_bp0": {"yuma3_on": False, "bonds_moving_average": 0, "bonds_penalty": 0},
    "yuma1_bp1": {"yuma3_on": False, "bonds_moving_average": 0, "bonds_penalty": U16},
    "yuma3": {"yuma3_on": True, "bonds_penalty": 0, "bonds_moving_average": 975_000},
    "yuma3_liquid": {"yuma3_on": True, "bonds_penalty": 0, "bonds_moving_average": 975_000},
}
"""The reference simulator's rules; its liquid alpha starts at the second epoch, with rates that no u16 holds."""


def row(epoch: int, validator: Any, targets: Sequence[Any], values: Sequence[float], **more: Any) -> dict[str, Any]:
    """A `[[weights]]` table."""
    return {"epoch": epoch, "validator": validator, "on": dict(zip(targets, values, strict=True)), **more}


def from_yuma3(scenario: dict[str, Any]) -> dict[str, Any]:
    """A scenario of the original's own Yuma3 tests."""
    names = [f"uid {uid}" for uid in range(scenario["n"])]
    targets = [names[uid] for uid in scenario["servers"]]
    given = scenario["inputs"]
    return {
        "name": scenario["name"],
        "epochs": len(given["epochs"]),
        "emission": 10**9,
        "neurons": [{"name": name, "stake": stake} for name, stake in zip(names, given["stakes"], strict=True)],
        "weights": [
            row(entry["epoch"], names[validator], targets, values)
            for entry in given["epochs"]
            for validator, values in zip(scenario["validators"], entry["weights_u16"], strict=True)
        ],
        "hyperparameters": {
            "kappa": 32_767,
            "yuma3_on": True,
            "liquid_alpha_on": given["liquid_alpha"],
            "alpha_low": 6553,
            "alpha_high": 19_660,
            "bonds_penalty": 0,
            "bonds_moving_average": 975_000,
            "max_allowed_validators": 3,
        },
    }


def from_simulator(case: dict[str, Any]) -> dict[str, Any]:
    """A case of the reference simulator, its four rules side by side."""
    validators, servers = case["validators"], case["servers"]
    stakes = case["inputs"]["stakes"]
    neurons = [{"name": name, "stake": stake} for name, stake in zip(validators, stakes[0], strict=True)]
    changed_stakes = [
        {"epoch": epoch, "neuron": name, "stake": after}
        for epoch in range(1, case["num_epochs"])
        for name, before, after in zip(validators, stakes[epoch - 1], stakes[epoch], strict=True)
        if before != after
    ]
    weights = case["inputs"]["weights"]
    return {
        "name": case["name"],
        "epochs": case["num_epochs"],
        "emission": 10**9,
        "neurons": neurons + [{"name": name} for name in servers],
        "stakes": changed_stakes,
        "weights": [
            row(epoch, validator, servers, values)
            for epoch, matrix in enumerate(weights)
            for at, (validator, values) in enumerate(zip(validators, matrix, strict=True))
            if epoch == 0 or weights[epoch - 1][at] != values
        ],
        "hyperparameters": {"kappa": 32_767, "max_allowed_validators": len(validators)},
        "variants": [
            {
                "name": name,
                "hyperparameters": table,
                "exact": True,
                "keep_permits": True,
                "changes": [{"epoch": 1, "liquid_alpha_on": True}] if name == "yuma3_liquid" else [],
                "liquid_rates": [0.1, 0.3],
            }
            for name, table in SIMULATOR_VARIANTS.items()
        ],
    }


def _classic(count: int, stakes: dict[int, int], **more: Any) -> dict[str, Any]:
    return {
        "emission": 10**9,
        "neurons": [{"name": str(uid), "stake": stakes.get(uid, 0)} for uid in range(count)],
        "hyperparameters": {"kappa": 32_767, "bonds_penalty": U16, "bonds_moving_average": 900_000, "yuma3_on": False},
        # With a moving average of 0 a bond is what this epoch alone would buy: the trace's delta bonds.
        "variants": [
            {"name": "classic"},
            {"name": "delta", "hyperparameters": {"bonds_moving_average": 0}},
        ],
        **more,
    }


def from_bonds_trace(document: dict[str, Any]) -> dict[str, Any]:
    """`test_bonds`: seven epochs, validators turning away one after the other."""
    given = document["test_bonds_stored_u16"]["inputs"]
    weights = given["initial_weights_u16_all_validators"]
    assert list(given["change_before_epoch"].values()) == [
        "validator 0 -> self only",
        "validator 1 -> self only",
        "validator 2 -> self only",
        "validator 2 -> server 7 only",
    ]
    rows = [row(0, str(uid), list(weights), list(weights.values())) for uid in given["validators"]]
    rows += [row(1, "0", ["0"], [1]), row(2, "1", ["1"], [1]), row(3, "2", ["2"], [1]), row(4, "2", ["7"], [1])]
    stakes = dict(zip(given["validators"], given["stakes"], strict=True))
    return _classic(given["n"], stakes, name="bonds", epochs=7, weights=rows)


def from_outdated_trace(traces: list[dict[str, Any]]) -> dict[str, Any]:
    """`test_outdated_weights`: a uid registers anew; one validator submits again, the other's weights are masked."""
    first, second = traces
    rows = [
        row(0, str(uid), [str(target) for target, _ in entries], [value for _, value in entries], once=True)
        for uid, entries in enumerate(first["inputs"]["weights_u16_sparse"])
    ]
    again = second["inputs"]["weights_u16_sparse"][0]
    rows.append(row(1, "0", [str(target) for target, _ in again], [value for _, value in again], once=True))
    return _classic(
        4,
        dict.fromkeys(range(4), 1),
        name="outdated",
        epochs=2,
        weights=rows,
        registrations=[{"epoch": 1, "neuron": "3"}],
    )


def equal_graph_of_512() -> dict[str, Any]:
    """64 equal validators weigh 448 servers equally for three epochs."""
    servers = [str(uid) for uid in range(64, 512)]
    document = _classic(
        512,
        dict.fromkeys(range(64), 1),
        name="512",
        epochs=3,
        weights=[row(0, str(uid), servers, [1] * len(servers)) for uid in range(64)],
    )
    document["hyperparameters"]["max_allowed_validators"] = 512
    return document
