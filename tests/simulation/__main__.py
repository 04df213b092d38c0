"""`python -m simulation NAME FIRST [LAST]`, run in `tests/`: play seeds of a campaign and print what became of them."""

import sys
import time

from simulation.campaigns import CAMPAIGNS


def main(arguments: list[str]) -> int:
    """Play FIRST..LAST (inclusive) of a campaign, or of every one for `all`. Exit code 1 when a run is bad."""
    if len(arguments) not in (2, 3):
        print(f"usage: NAME FIRST [LAST]; names: all {' '.join(campaign.name for campaign in CAMPAIGNS)}")
        return 2
    first, last = int(arguments[1]), int(arguments[-1])
    bad = 0
    for campaign in CAMPAIGNS:
        if arguments[0] not in ("all", campaign.name):
            continue
        started, gains = time.process_time(), []
        for seed in range(first, last + 1):
            outcome = campaign.play(seed)
            gains.append(min(outcome.gains, default=0))
            if not outcome.is_good:
                bad += 1
                print(f"{campaign.name} seed {seed}: {outcome}", flush=True)
        each = (time.process_time() - started) / (last + 1 - first)
        print(
            f"{campaign.name}: {last + 1 - first} runs, worst gain {min(gains)}, {each * 1000:.0f} ms a run", flush=True
        )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
