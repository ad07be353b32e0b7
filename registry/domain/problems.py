"""What can be wrong with a change to users, groups, robots, grants and rules, or with a question about access.

`/api/v1/` and the commands tell it.

Problem
├── Invalid    400
├── Missing    404
└── Conflict   409
"""

from typing import ClassVar


class Problem(Exception):
    """`detail` says what to do next; it never repeats a secret."""

    status: ClassVar[int]
    title: ClassVar[str]

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Invalid(Problem):
    status, title = 400, "invalid"


class Missing(Problem):
    status, title = 404, "not found"


class Conflict(Problem):
    status, title = 409, "conflict"
