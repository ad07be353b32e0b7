"""Who asks, and for what: the words of every access decision."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from registry.domain.action import VERBS, Action
from registry.domain.errors import RegistryError
from registry.domain.grants import ALL_RIGHTS, ANONYMOUS_SUBJECT, CONTENT_RIGHTS, NO_RIGHTS, Rights
from registry.domain.names import Digest, RepositoryName, Tag
from registry.domain.scopes import TokenScope

__all__ = [
    "ANONYMOUS",
    "ANYBODY",
    "ANYBODY_ANYWHERE",
    "OPERATOR",
    "VERBS",
    "Action",
    "Caller",
    "Decide",
    "Identity",
    "Peer",
]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is asking, and what they may do now.

    `name` is a subject (`user:alice`); `is_known` that its owner showed who they are. `credential` says by which of
    their credentials, and dies with it. `token`: what the bearer token at hand is for; None without one.
    """

    name: str
    rights: Rights = NO_RIGHTS
    is_known: bool = False
    credential: str = ""
    token: TokenScope | None = None


# Somebody of whom nothing is known
ANONYMOUS = Identity(ANONYMOUS_SUBJECT)
# Where nobody is asked who they are: on this machine alone, and anywhere
ANYBODY = Identity(ANONYMOUS_SUBJECT, ALL_RIGHTS, is_known=True)
ANYBODY_ANYWHERE = Identity(ANONYMOUS_SUBJECT, CONTENT_RIGHTS, is_known=True)
# Whoever may run commands on the data: the file system is their guard
OPERATOR = Identity("operator", ALL_RIGHTS, is_known=True)


@dataclass(frozen=True, slots=True)
class Peer:
    """Where a request comes from. `is_private`: nobody on the way can have read it."""

    address: str
    is_private: bool


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, in which request, and from where: what an event records of its cause."""

    identity: Identity
    request_id: str
    address: str = ""


# None for yes, else the refusal (access/policy.py)
Decide: TypeAlias = Callable[[Identity, Action, RepositoryName | None, Tag | None, Digest | None], RegistryError | None]
