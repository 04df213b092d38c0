"""Scenario files, TOML or JSON, from disk to a checked `Scenario` (docs/simulate.md has the format).

Unknown keys are errors with a suggestion, and every error names its place in the file.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, Final

from ...consensus.types import InvalidError, MalformedError
from .economy_format import economy_scenario
from .epoch_format import epoch_scenario
from .scenario import Scenario, ScenarioError

MAX_FILE_BYTES: Final = 16 << 20
"""Weights of 1024 neurons for a hundred epochs; a mistaken file is refused before it fills the memory."""


def read_scenario(path: Path) -> Scenario:
    """The scenario of a file. Raises ScenarioError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ScenarioError(f"scenario {path} cannot be read: {error.strerror}", remedy="give a file") from None
    if len(data) > MAX_FILE_BYTES:
        raise ScenarioError(f"scenario {path} is larger than {MAX_FILE_BYTES} bytes", remedy="split it")
    try:
        text = data.decode("utf-8")
        document = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ScenarioError(f"scenario {path} is not {kind}: {error}", remedy="mend the line named") from None
    return scenario_from_document(document)


def scenario_from_document(document: Any) -> Scenario:
    """The scenario that a parsed document describes. Raises ScenarioError."""
    if not isinstance(document, dict):
        raise ScenarioError("the scenario is no table", remedy='begin with name = "…"')
    mode = document.get("mode", "epochs")
    try:
        if mode == "epochs":
            return epoch_scenario(document)
        if mode == "economy":
            return economy_scenario(document)
    except ScenarioError:
        raise
    except (InvalidError, MalformedError) as error:
        raise ScenarioError(error.message, remedy=error.remedy) from None
    raise ScenarioError(f"mode is {mode!r}", remedy='use "epochs" or "economy"')
