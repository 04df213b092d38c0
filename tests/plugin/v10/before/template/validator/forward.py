import time

import bittensor as bt
from template.protocol import Double
from template.utils.uids import get_random_uids
from template.validator.reward import get_rewards


async def forward(self):
    miner_uids = get_random_uids(self, k=self.config.neuron.sample_size)
    responses = await self.dendrite(
        axons=[self.metagraph.axons[uid] for uid in miner_uids],
        synapse=Double(number=self.step),
        deserialize=True,
    )
    bt.logging.info(f"Received responses: {responses}")
    rewards = get_rewards(self, query=self.step, responses=responses)
    bt.logging.info(f"Scored responses: {rewards}")
    self.update_scores(rewards, miner_uids)
    time.sleep(5)
