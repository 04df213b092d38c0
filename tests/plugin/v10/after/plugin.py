from neurons.miner import Miner
from neurons.validator import Validator
from yumad.plugin.compat import port

subnet, Checker = port("double", miner=Miner, validator=Validator)
