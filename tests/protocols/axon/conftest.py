"""Makes the world of this folder importable from its tests."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent))
