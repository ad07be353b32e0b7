"""Scopes of bearer tokens: `repository:team/app:pull,push`, as the distribution token specification writes them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from registry.domain.action import Action
from registry.domain.errors import RequestInvalid

SCOPES_LIMIT = 64
REPOSITORY = "repository"
REGISTRY = "registry"
ANY_ACTION = "*"
# What a token must have been asked for; overwriting is a push that grants decide on
_ACTION_WORDS = {Action.PULL: "pull", Action.PUSH: "push", Action.OVERWRITE: "push", Action.DELETE: "delete"}
# What a challenge asks for: a client that pushes also looks
_NEEDED_WORDS = {Action.PULL: ("pull",), Action.PUSH: ("pull", "push"), Action.DELETE: ("delete",)}
_TYPE = re.compile(r"[a-z0-9]+(?:\([a-z0-9]+\))?")
_WORDS = re.compile(r"(?:[a-z]+|\*)(?:,(?:[a-z]+|\*))*")

Named = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Scope:
    """Actions on one resource; `kind` without its class, so that `repository(plugin)` is `repository`."""

    kind: str
    name: str
    actions: frozenset[str]

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}:{','.join(sorted(self.actions))}"


def parse_scopes(values: Iterable[str]) -> list[Scope]:
    """Every scope of a request, each value a list separated by spaces; raise RequestInvalid.

    Names may hold colons, so the first and the last one count (docker's token specification, "scope").
    """
    texts = [text for value in values for text in value.split(" ") if text]
    if len(texts) > SCOPES_LIMIT:
        raise RequestInvalid(f"a token is for at most {SCOPES_LIMIT} scopes")
    return [_parse(text) for text in texts]


def _parse(text: str) -> Scope:
    kind, first, rest = text.partition(":")
    name, last, actions = rest.rpartition(":")
    if not first or not last or not name or not _TYPE.fullmatch(kind) or not (not actions or _WORDS.fullmatch(actions)):
        raise RequestInvalid("a scope is type:name:action,action, such as repository:team/app:pull,push")
    return Scope(kind.partition("(")[0], name, frozenset(actions.split(",")) - {""})


def needed(action: Action, repository: str) -> str:
    """The scope that a challenge names for an action; "" for CONNECT."""
    if action is Action.LIST:
        return f"{REGISTRY}:catalog:*"
    words = _NEEDED_WORDS.get(action)
    return f"{REPOSITORY}:{repository}:{','.join(words)}" if words else ""


@dataclass(frozen=True, slots=True)
class TokenScope:
    """What a token was given, and what it was asked for in vain: by resource, the actions."""

    granted: Mapping[Named, frozenset[str]] = field(default_factory=dict)
    refused: Mapping[Named, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, granted: Sequence[Scope], refused: Sequence[Scope]) -> "TokenScope":
        return cls(_by_name(granted), _by_name(refused))

    def covers(self, action: Action, repository: str) -> bool:
        """Whether the token is for this action, whatever the grants say."""
        return _word(action) in self.granted.get(_resource(action, repository), ())

    def was_refused(self, action: Action, repository: str) -> bool:
        """Whether the client has asked for this already, so that asking again leads nowhere."""
        return _word(action) in self.refused.get(_resource(action, repository), ())


def _by_name(scopes: Sequence[Scope]) -> dict[Named, frozenset[str]]:
    found: dict[Named, frozenset[str]] = {}
    for scope in scopes:
        key = (scope.kind, scope.name)
        found[key] = found.get(key, frozenset()) | scope.actions
    return found


def _resource(action: Action, repository: str) -> Named:
    if action is Action.LIST:
        return REGISTRY, "catalog"
    if action is Action.ADMIN:
        return REGISTRY, "api"
    return REPOSITORY, repository


def _word(action: Action) -> str:
    return _ACTION_WORDS.get(action, ANY_ACTION)
