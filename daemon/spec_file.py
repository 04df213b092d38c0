"""Chain specs and authority records as files (DESIGN decision 4, section 7).

A spec file holds canonical CBOR (what is hashed and served) or TOML (what people write); the first byte tells them
apart. An authority record is what `yumad init --authority-record` writes on each host, for `yumad genesis build`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..consensus.chain_spec import (
    MAX_SPEC_BYTES,
    AuthoritySpec,
    ChainSpec,
    check_possession,
    decode_chain_spec,
    encode_chain_spec,
    genesis_hash_of_bytes,
)
from ..consensus.chain_spec_toml import authority_from_table, load_chain_spec_toml
from ..consensus.ss58 import encode_address
from ..consensus.types import Hash32, InvalidError, MalformedError, YumadError

RECORD_FORMAT: Final = "yumad-authority-record/1"

MAX_INPUT_BYTES: Final = 256 << 20
"""Snapshots and metagraphs are a megabyte; a mistaken path should not fill the memory."""

_MAX_RECORD_BYTES: Final = 4096
_CBOR_ARRAY: Final = 0x80
"""No TOML text starts with a byte from here up to 0x9f, the heads of CBOR arrays."""


class SpecFileError(YumadError):
    """A file cannot be read or written."""

    code = "file"


@dataclass(frozen=True, slots=True)
class LoadedSpec:
    """A spec with the bytes that were hashed."""

    spec: ChainSpec
    data: bytes
    """Canonical CBOR."""
    genesis_hash: Hash32


def read_spec_file(path: Path) -> LoadedSpec:
    """The checked spec in `path`. Raises SpecFileError, MalformedError or InvalidError naming file and setting."""
    data = _read(path, MAX_SPEC_BYTES, what="chain spec")
    try:
        if data[:1] and _CBOR_ARRAY <= data[0] < _CBOR_ARRAY + 32:
            return LoadedSpec(decode_chain_spec(data), data, genesis_hash_of_bytes(data))
        return loaded(load_chain_spec_toml(_utf8(data)))
    except (MalformedError, InvalidError) as error:
        remedy = error.remedy or "mend the setting named, or get the file again and compare its genesis hash"
        raise InvalidError(f"{path} is no usable chain spec: {error.message}", remedy=remedy) from error


def read_spec_template(path: Path) -> ChainSpec:
    """A spec that is still to get its authorities: TOML may lack them. Raises as `read_spec_file`."""
    data = _read(path, MAX_SPEC_BYTES, what="chain spec")
    if data[:1] and _CBOR_ARRAY <= data[0] < _CBOR_ARRAY + 32:
        return read_spec_file(path).spec
    return load_chain_spec_toml(_utf8(data), check=False)


def read_spec_text(path: Path) -> str:
    """The TOML text in `path`."""
    return _utf8(_read(path, MAX_SPEC_BYTES, what="chain spec"))


def read_input(path: Path) -> bytes:
    """A file given to `yumad genesis import`."""
    return _read(path, MAX_INPUT_BYTES, what="file")


def loaded(spec: ChainSpec) -> LoadedSpec:
    """`spec` with its bytes and hash."""
    data = encode_chain_spec(spec)
    return LoadedSpec(spec, data, genesis_hash_of_bytes(data))


def write_file(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write `path` as a whole or not at all. Raises SpecFileError, also when it exists and may not be replaced."""
    if path.exists() and not overwrite:
        raise SpecFileError(f"{path} exists already", remedy="choose another name, or pass --force to replace it")
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        fresh.write_bytes(data)
        os.replace(fresh, path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise SpecFileError(f"{path} cannot be written: {error.strerror}", remedy="check folder and space") from error


def encode_authority_record(authority: AuthoritySpec, chain_name: str, salt: bytes) -> bytes:
    """A record for the spec of the chain with this name and salt (JSON)."""
    return (
        json.dumps(
            {
                "format": RECORD_FORMAT,
                "chain": chain_name,
                "salt": salt.hex(),
                "hotkey": encode_address(authority.hotkey),
                "coldkey": encode_address(authority.coldkey),
                "key": authority.authority_key.hex(),
                "possession": authority.possession.hex(),
                "peer_id": authority.peer_id.hex(),
            },
            indent=2,
        ).encode()
        + b"\n"
    )


def read_authority_record(path: Path, chain_name: str, salt: bytes) -> AuthoritySpec:
    """The authority in a record file, with its proof of possession checked for this chain name and salt."""
    try:
        document = json.loads(_utf8(_read(path, _MAX_RECORD_BYTES, what="authority record")))
        return _authority(document, chain_name, salt)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"{path} is not an authority record: {error}") from None
    except (MalformedError, InvalidError) as error:
        raise InvalidError(f"{path}: {error.message}", remedy=error.remedy) from error


def _authority(document: Any, chain_name: str, salt: bytes) -> AuthoritySpec:
    if not isinstance(document, Mapping) or document.get("format") != RECORD_FORMAT:
        raise MalformedError(f"expected a record of format {RECORD_FORMAT}")
    if (document.get("chain"), document.get("salt")) != (chain_name, salt.hex()):
        raise InvalidError(
            f"the record is for chain {document.get('chain')!r} with salt {document.get('salt')!r}, the spec has "
            f"{chain_name!r} and {salt.hex()!r}",
            remedy="make it again with the spec's name and salt",
        )
    fields = {key: value for key, value in document.items() if key not in ("format", "chain", "salt")}
    authority = authority_from_table(fields, where="authority record")
    check_possession(authority, chain_name, salt)
    return authority


def _read(path: Path, most: int, *, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise SpecFileError(f"{what} {path} cannot be read: {error.strerror}", remedy="check the path") from error
    if len(data) > most:
        raise SpecFileError(f"{what} {path} is larger than {most} bytes", remedy="check the path")
    return data


def _utf8(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError("the file is neither a chain spec in CBOR nor UTF-8 text") from None
