"""Makes the plain versions of the rules in this folder importable from its tests."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent))
