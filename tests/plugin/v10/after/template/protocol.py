import typing

import yumad.plugin.compat as bt


class Double(bt.Synapse):
    """A number goes out, twice the number should come back."""

    number: int
    doubled: typing.Optional[int] = None

    def deserialize(self) -> typing.Optional[int]:
        return self.doubled
