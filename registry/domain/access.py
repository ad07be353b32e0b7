"""Who asks, and for what: the words of every access decision."""

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What a request does, to a repository or to the registry."""

    CONNECT = "connect"
    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is asking. In open mode everybody is anonymous."""

    name: str


ANONYMOUS = Identity("anonymous")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks and in which request: what an event records of its cause."""

    identity: Identity
    request_id: str
