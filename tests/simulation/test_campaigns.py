"""Random campaigns: faults until the heal, then health; no fork, no other violation, and every honest node goes on.

Seeds run in chunks; a failure names its seed, and `python -m simulation NAME SEED` in `tests/` plays it again.
"""

import pytest
from simulation.campaigns import CAMPAIGNS, Campaign

CHUNK = 10

CHUNKS = [
    pytest.param(campaign, range(start, min(start + CHUNK, campaign.seeds)), id=f"{campaign.name}-{start}")
    for campaign in CAMPAIGNS
    for start in range(0, campaign.seeds, CHUNK)
]


def test_campaigns_together_are_at_least_two_thousand_seeds() -> None:
    assert sum(campaign.seeds for campaign in CAMPAIGNS) >= 2000


@pytest.mark.parametrize(("campaign", "seeds"), CHUNKS)
def test_network_under_faults_never_forks_and_resumes_after_the_heal(campaign: Campaign, seeds: range) -> None:
    for seed in seeds:
        outcome = campaign.play(seed)
        assert outcome.is_good, f"campaign {campaign.name} seed {seed}: {outcome}"
