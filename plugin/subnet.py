"""`Subnet`: what one plugin file serves (AXON R20, section 2 "shape to aim for").

subnet = Subnet("echo", version=1)

@subnet.method(timeout=5.0)
async def echo(request: Ask) -> Answer: ...
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar, overload

from ..protocols.axon.interfaces import ServedMethod
from ..protocols.axon.plugin_values import MAX_BODY
from ..protocols.axon.policy import Policy
from .call import running_store
from .method import DefinitionError, Function, Method, implementation_of
from .seal import Sealed, commit_method, open_method

Hook = Callable[[], Awaitable[None] | None]
_Hook = TypeVar("_Hook", bound=Hook)

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,47}")
_MAX_TIMEOUT: Final = 3600.0


class Subnet:
    """The methods of a subnet's miners, with hooks around their service."""

    def __init__(self, name: str, *, version: int = 1) -> None:
        """`version` is the default of its methods'. Raises DefinitionError."""
        if not _NAME.fullmatch(name if type(name) is str else ""):
            raise DefinitionError(
                f"a subnet cannot be called {name!r}", remedy="use 1 to 48 of a-z, 0-9 and _, first a letter"
            )
        if type(version) is not int or not 0 < version < 1 << 16:
            raise DefinitionError(f"version of subnet {name} is {version!r}", remedy="give a whole number from 1")
        self.name, self.version = name, version
        self.methods: dict[str, Method] = {}
        self.start_hooks: list[Hook] = []
        self.stop_hooks: list[Hook] = []

    def __repr__(self) -> str:
        return f"<subnet {self.name} v{self.version}: {', '.join(self.methods) or 'no methods'}>"

    @property
    def state(self) -> Path:
        """Folder of the running plugin, kept across restarts; each hotkey has its own. Only while it runs."""
        store = running_store.get(None)
        if store is None:
            raise RuntimeError("subnet.state is there while the plugin runs, not when its file is imported")
        return store

    @overload
    def method(self, function: Function) -> Method: ...

    @overload
    def method(
        self,
        *,
        name: str | None = None,
        version: int | None = None,
        timeout: float = 10.0,
        concurrency: int = 16,
        max_body: int = 16 << 20,
        max_reply: int = 16 << 20,
        policy: Policy | None = None,
        idempotent: bool = False,
        cpu: bool = False,
        sealed: Sealed | bool = False,
    ) -> Callable[[Function], Method]: ...

    def method(
        self,
        function: Function | None = None,
        *,
        name: str | None = None,
        version: int | None = None,
        timeout: float = 10.0,
        concurrency: int = 16,
        max_body: int = 16 << 20,
        max_reply: int = 16 << 20,
        policy: Policy | None = None,
        idempotent: bool = False,
        cpu: bool = False,
        sealed: Sealed | bool = False,
    ) -> Any:
        """Serve a function; its name and annotations are the method's. Raises DefinitionError.

        `async def` runs as it is, `def` in a worker thread, and with `cpu=True` in a process of its own. `timeout` in
        seconds, sizes in bytes. With `sealed` the answers of a round are committed before any is shown (seal.py).
        """

        def add(function: Function, depth: int = 2) -> Method:
            implementation = implementation_of(function, cpu=cpu, depth=depth)
            chosen, signature = name or function.__name__, implementation.signature
            served = ServedMethod(
                name=chosen,
                version=self.version if version is None else version,
                timeout=float(timeout),
                max_body=max_body,
                max_reply=max_reply,
                concurrency=concurrency,
                stream_in=signature.messages is not None,
                stream_out=signature.stream_out,
                idempotent=idempotent,
                policy=policy or Policy(),
            )
            self._check(served)
            seal = (Sealed() if sealed is True else sealed) or None
            if seal is not None and (served.stream_in or served.stream_out):
                raise DefinitionError(f"{chosen}: a stream cannot be sealed", remedy="answer with one message")
            self.methods[chosen] = method = Method(served, implementation, seal)
            return method

        return add if function is None else add(function, 3)

    def _check(self, served: ServedMethod) -> None:
        where = f"{self.name}.{served.name}"
        if not _NAME.fullmatch(served.name):
            raise DefinitionError(
                f"a method cannot be called {served.name!r}", remedy="use 1 to 48 of a-z, 0-9 and _, first a letter"
            )
        if served.name in self.methods:
            raise DefinitionError(f"{where} is defined twice", remedy="rename one, or use @method.variant for another")
        if not 0.0 < served.timeout <= _MAX_TIMEOUT:
            raise DefinitionError(f"{where}: timeout is {served.timeout}", remedy=f"give seconds, up to {_MAX_TIMEOUT}")
        if type(served.version) is not int or not 0 < served.version < 1 << 16:
            raise DefinitionError(f"{where}: version is {served.version!r}", remedy="give a whole number from 1")
        if type(served.concurrency) is not int or not 1 <= served.concurrency <= 4096:
            raise DefinitionError(f"{where}: concurrency is {served.concurrency!r}", remedy="give 1 to 4096 calls")
        for what in ("max_body", "max_reply"):
            size: Any = getattr(served, what)
            if type(size) is not int or not 0 < size <= MAX_BODY:
                raise DefinitionError(f"{where}: {what} is {size!r}", remedy=f"give bytes, 1 to {MAX_BODY}")
        if not isinstance(served.policy, Policy):
            raise DefinitionError(f"{where}: policy is {served.policy!r}", remedy="give a yumad.Policy")

    def on_start(self, hook: _Hook) -> _Hook:
        """Run it before the first call is served, such as loading a model. An error there ends the plugin."""
        self.start_hooks.append(hook)
        return hook

    def on_stop(self, hook: _Hook) -> _Hook:
        """Run it when the plugin ends or is reloaded; it has five seconds."""
        self.stop_hooks.append(hook)
        return hook

    def served_methods(self) -> list[ServedMethod]:
        """All that the peer has to know of; a sealed method is two on the wire."""
        served: list[ServedMethod] = []
        for method in self.methods.values():
            if method.sealed is None:
                served.append(method.served)
            else:
                served += [commit_method(method.served), open_method(method.served, method.sealed)]
        return served

    def variant_names(self) -> list[str]:
        """Every variant that some method has."""
        return sorted({name for method in self.methods.values() for name in method.variants})
