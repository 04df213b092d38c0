"""What every test may ask for: the repository root, the shared test data beside it, and one Hypothesis profile."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# No deadline: a loaded machine is not a bug. In CI the examples are the same on every run, so that a red run is the
# change's fault; at a developer's desk they are fresh each time.
settings.register_profile("yumad", deadline=None, derandomize="CI" in os.environ, print_blob=True)
settings.load_profile("yumad")


@pytest.fixture(scope="session")
def repository_root() -> Path:
    """The root of the repository, which is also the package `yumad`."""
    return ROOT


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The folder `shared` beside the repository, with the public vectors; tests that need it are skipped without it."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("the folder ../shared with the public vectors is not beside this clone")
    return folder
