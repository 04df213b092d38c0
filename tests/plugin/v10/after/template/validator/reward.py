import typing

import yumad.plugin.compat as bt
import numpy as np


def reward(query: int, response: typing.Optional[int]) -> float:
    bt.logging.info(f"query {query}, response {response}")
    return 1.0 if response == query * 2 else 0.0


def get_rewards(self, query: int, responses: typing.List[typing.Optional[int]]) -> np.ndarray:
    return np.array([reward(query, response) for response in responses])
