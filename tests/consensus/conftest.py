"""Makes the engine bench importable as `simulation.bench`."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))
