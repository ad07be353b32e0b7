"""Grants: a subject, a pattern of repository names, verbs. What one may do is the union of one's grants; none denies.

Subjects are text: `user:alice`, `group:devs`, `robot:build`, `ci:deploy`, `authenticated` (everybody who has shown
who they are) and `anonymous` (everybody).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from registry.domain.action import VERBS, Action
from registry.domain.names import NAME_LIMIT, RepositoryName
from registry.domain.problems import Invalid

AUTHENTICATED = "authenticated"
ANONYMOUS_SUBJECT = "anonymous"
SUBJECT_KINDS = ("user", "group", "robot", "ci")

# One path segment of a URL, one word of a command; mail addresses too, which htpasswd files and CI know people by
_ACCOUNT = re.compile(r"[A-Za-z0-9]+(?:[._@+-][A-Za-z0-9]+)*")
ACCOUNT_LIMIT = 64


def parse_account(text: str) -> str:
    """The name of a user, group, robot or rule; raise Invalid."""
    if len(text) > ACCOUNT_LIMIT or not _ACCOUNT.fullmatch(text):
        raise Invalid(
            f"a name has at most {ACCOUNT_LIMIT} letters and digits, joined inside by '.', '_', '-', '@' or '+'"
        )
    return text


def parse_subject(text: str) -> str:
    """Whom a grant is for; raise Invalid."""
    kind, colon, name = text.partition(":")
    if not colon and text in (AUTHENTICATED, ANONYMOUS_SUBJECT):
        return text
    if kind not in SUBJECT_KINDS:
        raise Invalid("a subject is user:NAME, group:NAME, robot:NAME, ci:NAME, authenticated or anonymous")
    return f"{kind}:{parse_account(name)}"


def parse_verbs(words: Iterable[str]) -> frozenset[Action]:
    """Raise Invalid for an unknown verb, or none."""
    wanted = set(words)
    if not wanted or not wanted <= set(VERBS):
        raise Invalid(f"verbs are {', '.join(VERBS)}; at least one")
    return frozenset(Action(word) for word in wanted)


@dataclass(frozen=True, slots=True)
class Pattern:
    """Whole components: `team/app` is one repository, `team/*` all just below, `team/**` all below at any depth."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raise Invalid."""
        parent, slash, last = text.rpartition("/")
        plain = (parent + slash + "x") if last in ("*", "**") else text
        if len(text) > NAME_LIMIT or not RepositoryName.is_valid(plain):
            raise Invalid("a pattern is a repository name whose last component may be * (one more) or ** (any more)")
        return cls(text)

    @property
    def parent(self) -> str:
        """What stands before the star, with its slash; all of it where there is no star."""
        return self.text.rstrip("*")

    @property
    def is_deep(self) -> bool:
        return self.text.endswith("**")

    @property
    def is_level(self) -> bool:
        return self.text.endswith("*") and not self.is_deep

    def matches(self, name: str) -> bool:
        """Whether the repository `name` is one of these."""
        if self.is_deep:
            return name.startswith(self.parent)
        if self.is_level:
            return name.startswith(self.parent) and "/" not in name[len(self.parent) :]
        return name == self.text

    def covers(self, other: "Pattern") -> bool:
        """Whether every repository of the other pattern is one of this one's."""
        if self.is_deep:
            return other.parent.startswith(self.parent)
        return self.text == other.text or (not other.text.endswith("*") and self.matches(other.text))


ALL = Pattern("**")


@dataclass(frozen=True, slots=True)
class Grant:
    """`source` says where it comes from when no row of the database holds it."""

    subject: str
    pattern: Pattern
    verbs: frozenset[Action]
    id: int = 0
    source: str = ""

    def gives(self, verb: Action) -> bool:
        """`admin` gives every verb: who may grant it to oneself has it."""
        return verb in self.verbs or Action.ADMIN in self.verbs


class Rights:
    """The union of grants, looked up in time that grows with a name's depth only.

    `within` narrows it to what another may do as well: a robot never may more than who made it.
    """

    __slots__ = ("_deep", "_exact", "_level", "grants", "within")

    def __init__(self, grants: Sequence[Grant], within: "Rights | None" = None) -> None:
        self.grants = tuple(grants)
        self.within = within
        self._exact: dict[Action, set[str]] = {verb: set() for verb in VERBS}
        self._level: dict[Action, set[str]] = {verb: set() for verb in VERBS}
        self._deep: dict[Action, set[str]] = {verb: set() for verb in VERBS}
        for grant in grants:
            pattern = grant.pattern
            kind = self._deep if pattern.is_deep else self._level if pattern.is_level else self._exact
            for verb in VERBS:
                if grant.gives(verb):
                    kind[verb].add(pattern.parent)

    def allow(self, verb: Action, name: str) -> bool:
        """Whether `verb` may be done to the repository `name`."""
        if self.within is not None and not self.within.allow(verb, name):
            return False
        deep = self._deep[verb]
        if "" in deep or name in self._exact[verb]:
            return True
        at = name.rfind("/") + 1
        if name[:at] in self._level[verb]:
            return True
        while at:
            if name[:at] in deep:
                return True
            at = name.rfind("/", 0, at - 1) + 1
        return False

    def allow_pattern(self, verb: Action, pattern: Pattern) -> bool:
        """Whether `verb` may be done to all repositories of a pattern, by one grant."""
        if self.within is not None and not self.within.allow_pattern(verb, pattern):
            return False
        return any(grant.gives(verb) and grant.pattern.covers(pattern) for grant in self.grants)

    def anywhere(self, verb: Action) -> bool:
        """Whether there may be a repository to which `verb` may be done."""
        found = self._exact[verb] or self._level[verb] or self._deep[verb]
        return bool(found) and (self.within is None or self.within.anywhere(verb))

    def ranges(self, verb: Action) -> list[tuple[str, str]]:
        """Where names may lie to which `verb` may be done, ascending and disjoint: from (inclusive) and to (exclusive).

        A range may hold other names as well: ask `allow` for each.
        """
        spans = [(name, name + "\0") for name in self._exact[verb]]
        spans += [(parent, _after(parent)) for parent in self._level[verb] | self._deep[verb]]
        merged: list[tuple[str, str]] = []
        for start, end in sorted(spans):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged


def _after(parent: str) -> str:
    """The first text behind all that begins with `parent`, which ends in a slash or is empty."""
    return parent[:-1] + "0" if parent else "\U0010ffff"


# What the official image lets everybody do whom it lets in
CONTENT_VERBS = frozenset(VERBS) - {Action.ADMIN}

NO_RIGHTS = Rights([])
ALL_RIGHTS = Rights([Grant(ANONYMOUS_SUBJECT, ALL, frozenset(VERBS), source="auth.mode = open")])
# Strangers must not prepare accounts for the day when the mode changes
CONTENT_RIGHTS = Rights([Grant(ANONYMOUS_SUBJECT, ALL, CONTENT_VERBS, source="auth.mode = open-anywhere")])
