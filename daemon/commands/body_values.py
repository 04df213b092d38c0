"""Bodies of calls as JSON: what people type, and what they read.

JSON has no bytes and no arrays. Both are written as an object with one key: `{"$bytes": "00ff"}`, and
`{"$array": {"dtype": "float32", "shape": [2], "values": [0.5, 1.0]}}`, whose values are left out of what is shown when
they are many.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

from .output import usage_error

BYTES: Final = "$bytes"
ARRAY: Final = "$array"

SHOWN_VALUES: Final = 64
"""Values of an array that are shown; `yumad axon call` is for looking, not for moving tensors."""


def body_of(text: str) -> bytes:
    """The body of a request written as JSON. Raises a usage error for what is none, or has no form in a body."""
    from ...protocols.axon.payload import encode_payload

    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise usage_error(
            f"the data is not JSON: {error}", remedy="""write it like --data '{"text": "hello"}', in single quotes"""
        ) from error
    return b"".join(encode_payload(_from_json(value)))


def shown_body(body: bytes) -> Any:
    """A reply's body as JSON; bytes that are no body as `{"$bytes": hex}`, none at all as null."""
    from ...consensus.types import MalformedError
    from ...protocols.axon.payload import decode_payload

    if not body:
        return None
    try:
        return _shown(decode_payload(body))
    except MalformedError:
        return {BYTES: body.hex()}


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {BYTES}:
        try:
            return bytes.fromhex(value[BYTES])
        except (TypeError, ValueError) as error:
            raise usage_error(
                f"{BYTES} is {str(value[BYTES])[:60]!r}", remedy="write an even number of hex digits"
            ) from error
    if set(value) == {ARRAY}:
        return _array(value[ARRAY])
    return {name: _from_json(item) for name, item in value.items()}


def _array(description: Any) -> Any:
    import numpy as np

    try:
        values = np.asarray(description["values"], dtype=description["dtype"])
        return values.reshape(description.get("shape", values.shape))
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise usage_error(
            f"{ARRAY} is not an array: {error}", remedy='write {"$array": {"dtype": "float32", "values": [0.5, 1.0]}}'
        ) from error


def _shown(value: Any) -> Any:
    import numpy as np

    if isinstance(value, bytes):
        return {BYTES: value.hex()}
    if isinstance(value, np.ndarray):
        shown: dict[str, Any] = {"dtype": value.dtype.name, "shape": list(value.shape)}
        if value.size <= SHOWN_VALUES:
            shown["values"] = _shown(value.tolist())
        return {ARRAY: shown}
    if isinstance(value, list):
        return [_shown(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _shown(item) for name, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such number
    return value


def printable(text: str) -> str:
    """`text` of a stranger for a terminal: what is no visible letter is written as JSON escapes it."""
    return "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in text)
