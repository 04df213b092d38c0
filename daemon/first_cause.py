"""Which of the errors that several tasks raised at once is told to the operator."""

from __future__ import annotations

from ..consensus.types import YumadError
from ..protocols.transport import TransportError


def first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The designed error in a group of any depth, else the transport's, else the first one."""
    flat: list[BaseException] = []
    pending: list[BaseException] = [group]
    while pending:
        current = pending.pop()
        if isinstance(current, BaseExceptionGroup):
            pending.extend(reversed(current.exceptions))
        else:
            flat.append(current)
    for kind in (YumadError, TransportError):
        for error in flat:
            if isinstance(error, kind):
                return error
    return flat[0]
