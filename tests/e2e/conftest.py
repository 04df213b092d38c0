"""Real processes over loopback. What is asserted comes true eventually; deadlines are far away and cost nothing."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent))
