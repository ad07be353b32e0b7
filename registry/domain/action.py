"""What a request does, to a repository or to the registry."""

from enum import StrEnum


class Action(StrEnum):
    """CONNECT and LIST are asked of the registry; all others are verbs, which grants give for repositories.

    PUSH is new content and new tags; to move a tag that exists takes OVERWRITE. ADMIN is all of them, and to grant
    them to others.
    """

    CONNECT = "connect"
    LIST = "list"
    PULL = "pull"
    PUSH = "push"
    OVERWRITE = "overwrite"
    DELETE = "delete"
    ADMIN = "admin"


VERBS = (Action.PULL, Action.PUSH, Action.OVERWRITE, Action.DELETE, Action.ADMIN)
