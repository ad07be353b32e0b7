"""What an operation is, and one call of it, as needs and handlers see it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import NoneType
from typing import Any, get_type_hints

from aiohttp import web

from registry.admin.inputs import read_body
from registry.assembly import Registry
from registry.domain.access import Caller, Identity, Peer
from registry.domain.errors import RegistryError
from registry.domain.grants import ALL, Pattern
from registry.domain.names import RepositoryName
from registry.domain.problems import Missing


@dataclass(frozen=True, slots=True)
class Need:
    """`check` raises the refusal for whoever has not got what is needed; `about` tells people what that is."""

    about: str
    check: Callable[["Call"], Awaitable[None]]


@dataclass(frozen=True)
class Operation:
    """A row of the table. What the query, the body and the answer look like stands in the handler's signature.

    `path` is below /api/v1/, `location` that of what was made, from fields of the answer. `is_secret`: a password or
    a secret goes over the wire. `is_later`: what is asked for is done after the answer.
    """

    method: str
    path: str
    handler: Callable[..., Awaitable[Any]]
    needs: Need
    location: str = ""
    is_secret: bool = False
    is_later: bool = False

    @cached_property
    def _types(self) -> dict[str, Any]:
        return get_type_hints(self.handler, include_extras=True)

    @property
    def name(self) -> str:
        return self.handler.__name__

    @property
    def body(self) -> Any:
        """The type of the body, None without one."""
        return self._types.get("body")

    @property
    def query(self) -> Any:
        """The type of the query, None where none is taken."""
        return self._types.get("query")

    @property
    def answer(self) -> Any:
        """None where nothing is answered but the status."""
        told = self._types["return"]
        return None if told is NoneType else told

    @property
    def status(self) -> int:
        if self.answer is None:
            return 204
        if self.is_later:
            return 202
        return 201 if self.location else 200


@dataclass(slots=True)
class Call:
    """`path` are the values in the operation's path. `is_by_token`: the caller came with a bearer token."""

    request: web.Request
    registry: Registry
    operation: Operation
    path: Mapping[str, str]
    peer: Peer
    caller: Caller
    is_by_token: bool = False
    _body: Any = None

    @property
    def identity(self) -> Identity:
        return self.caller.identity

    @property
    def repository(self) -> RepositoryName:
        """The repository in the path; raise Missing for what can't be a name."""
        name = self.path["repository"]
        if not RepositoryName.is_valid(name):
            raise Missing("no repository can have this name")
        return RepositoryName(name)

    def refusal(self, pattern: Pattern = ALL) -> RegistryError | None:
        """None for whoever may administer a pattern."""
        return self.registry.policy.administer(self.identity, pattern)

    async def body(self) -> Any:
        """The body, as the operation wants it; raise what is wrong with it."""
        if self._body is None:
            self._body = await read_body(self.request, self.operation.body)
        return self._body
