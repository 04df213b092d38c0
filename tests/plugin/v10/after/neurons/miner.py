import time
import typing

import yumad.plugin.compat as bt
import template.protocol
from yumad.plugin.compat import BaseMinerNeuron


class Miner(BaseMinerNeuron):
    def __init__(self, config=None):
        super(Miner, self).__init__(config=config)

    async def forward(self, synapse: template.protocol.Double) -> template.protocol.Double:
        synapse.doubled = synapse.number * 2
        return synapse

    async def blacklist(self, synapse: template.protocol.Double) -> typing.Tuple[bool, str]:
        if synapse.dendrite is None or synapse.dendrite.hotkey is None:
            bt.logging.warning("a request without a hotkey")
            return True, "Missing dendrite or hotkey"
        if synapse.dendrite.hotkey not in self.metagraph.hotkeys:
            bt.logging.trace(f"not registered: {synapse.dendrite.hotkey}")
            return True, "Unrecognized hotkey"
        uid = self.metagraph.hotkeys.index(synapse.dendrite.hotkey)
        if self.config.blacklist.force_validator_permit and not self.metagraph.validator_permit[uid]:
            bt.logging.warning(f"no permit: {synapse.dendrite.hotkey}")
            return True, "Non-validator hotkey"
        return False, "Hotkey recognized!"

    async def priority(self, synapse: template.protocol.Double) -> float:
        if synapse.dendrite is None or synapse.dendrite.hotkey is None:
            return 0.0
        uid = self.metagraph.hotkeys.index(synapse.dendrite.hotkey)
        return float(self.metagraph.S[uid])


if __name__ == "__main__":
    with Miner() as miner:
        while True:
            bt.logging.info(f"Miner running... {time.time()}")
            time.sleep(5)
