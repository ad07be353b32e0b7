"""A token never allows more than the grants do now, whatever they were when it was made (A-05, A-06).

The grants are evaluated here once more, in the plainest way there is.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from registry.access import directory
from registry.access.token_service import TokenRequest
from registry.assembly import Registry, open_registry
from registry.config import RateLimitSettings
from registry.domain.access import Caller, Identity, Peer
from registry.domain.action import VERBS, Action
from registry.domain.errors import Unauthorized
from registry.domain.grants import Pattern
from registry.domain.names import RepositoryName
from registry.domain.scopes import parse_scopes
from registry.metadata.schema import upgrade
from tests.support.access import OPERATING, add_robot, add_user, basic, grant, required_settings, revoke
from tests.support.registry import Clock

HERE = Peer("127.0.0.1", is_private=True)
DAY = 86_400_000

USERS = ("alice", "bob")
# By name, who makes it; None: the operator
ROBOTS = {"alices": "alice", "bobs": "bob", "free": None}
GROUPS = ("devs", "ops")
CALLERS = (*(f"user:{name}" for name in USERS), *(f"robot:{name}" for name in ROBOTS), "anonymous")
SUBJECTS = (*CALLERS, *(f"group:{name}" for name in GROUPS), "authenticated")
PATTERNS = ("**", "*", "a", "a/**", "a/*", "a/b", "a/b/**", "a/b/*", "a/b/c", "ab/**", "d/e")
NAMES = ("a", "a/b", "a/b/c", "a/b/c/d", "ab", "ab/c", "abc/d", "d", "d/e")
WORDS = ("pull", "push", "delete", "*", "overwrite", "admin")
# Nobody means well with these
ODD_NAMES = ("A/b", "a/../b", "a//b", "a:b", "**", "a/**", "a%2Fb")
ODD_SCOPES = ("registry:api:pull", "registry:a/b:*", "blob:a/b:*", "repository:a/b:")
TOKENS_LIMIT = 6

names, patterns = st.sampled_from(NAMES), st.sampled_from(PATTERNS)
words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(",".join)
scopes = st.lists(
    st.builds("repository:{}:{}".format, names, words)
    | st.builds("repository:{}:{}".format, st.sampled_from(ODD_NAMES), words)
    | st.builds("repository(plugin):{}:{}".format, names, words)
    | st.sampled_from(["registry:catalog:*", "registry:api:*", *ODD_SCOPES]),
    max_size=5,
)

T = TypeVar("T")
Allowed = set[tuple[str, str]]
"""Verbs with the names that they may be done to."""


@dataclass
class Plain:
    """Grants as a list, who is in which group, who is disabled, whose creator is another user of the same name now."""

    grants: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    members: set[tuple[str, str]] = field(default_factory=set)
    disabled: set[str] = field(default_factory=set)
    orphans: set[str] = field(default_factory=set)

    def works(self, caller: str) -> bool:
        creator = creator_of(caller)
        return not {caller, creator} & self.disabled and caller not in self.orphans

    def allows(self, caller: str, verb: str, name: str) -> bool:
        creator = creator_of(caller)
        if not self.works(caller) or (creator and not self.allows(creator, verb, name)):
            return False
        return any(
            subject in self._subjects(caller) and matches(pattern, name) and (verb in held or "admin" in held)
            for (subject, pattern), held in self.grants.items()
        )

    def allowed(self, caller: str) -> Allowed:
        return {(verb, name) for verb, name in product(VERBS, NAMES) if self.allows(caller, verb, name)}

    def pulls_somewhere(self, caller: str) -> bool:
        return any(subject in self._subjects(caller) and "pull" in held for (subject, _), held in self.grants.items())

    def forget(self, caller: str) -> None:
        self.grants = {key: held for key, held in self.grants.items() if key[0] != caller}
        self.members = {member for member in self.members if member[1] != caller}
        self.disabled.discard(caller)
        self.orphans.discard(caller)
        self.orphans |= {other for other in CALLERS if creator_of(other) == caller}

    def _subjects(self, caller: str) -> list[str]:
        if caller == "anonymous":
            return ["anonymous"]
        groups = [f"group:{group}" for group, user in self.members if user == caller]
        return [caller, *groups, "authenticated", "anonymous"]


def creator_of(caller: str) -> str | None:
    kind, _, name = caller.partition(":")
    creator = ROBOTS[name] if kind == "robot" else None
    return creator and f"user:{creator}"


def matches(pattern: str, name: str) -> bool:
    *folders, last = pattern.split("/")
    parts = name.split("/")
    if last == "**":
        return parts[: len(folders)] == folders and len(parts) > len(folders)
    if last == "*":
        return parts[:-1] == folders
    return pattern == name


@dataclass(frozen=True)
class Token:
    """`held`: what it was asked for and could be had when it was made. `registry`: the same of the registry itself."""

    text: str
    caller: str
    held: Allowed
    registry: set[str]
    credential_lives: bool = True

    def is_for(self, verb: str, name: str) -> bool:
        """To overwrite is to push; grants tell them apart."""
        if verb == "admin":
            return "api" in self.registry
        return ("push" if verb == "overwrite" else verb, name) in self.held


def asked(texts: list[str]) -> tuple[Allowed, set[str]]:
    """What the scopes ask of repositories, and of the registry."""
    repositories, registry = set(), set()
    for text in texts:
        kind, *between, last = text.split(":")
        name, actions = ":".join(between), last.split(",")
        if kind.startswith("repository"):
            repositories |= {(verb, name) for verb in ("pull", "push", "delete") if {verb, "*"} & set(actions)}
        elif kind == "registry" and "*" in actions:
            registry.add(name)
    return repositories, registry


class World:
    """One registry for all examples, in whose directory nothing is older than the request."""

    def __init__(self, folder: Path) -> None:
        upgrade(folder / "registry.db")
        unlimited = RateLimitSettings(failures="", addressfailures="")
        self._runner = asyncio.Runner()
        self._settings = replace(required_settings(folder), ratelimit=unlimited)
        self.registry = self.run(self._open())
        self.access = self.registry.access
        self.decide = self.registry.policy.decide
        self._hash = ""
        self._secrets: dict[str, str] = {}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def close(self) -> None:
        self.run(self.registry.close())
        self._runner.close()

    async def _open(self) -> Registry:
        return open_registry(self._settings, now=Clock())

    async def people(self) -> None:
        """Users, robots and groups, who have nothing."""
        await add_user(self.registry, "chief", **{"**": "admin"})
        self._hash = (await self.access.users.get("chief")).password
        for user in USERS:
            await self.access.users.adopt(user, self._hash, OPERATING)
        for robot in ROBOTS:
            await self._make_robot(robot)
        for group in GROUPS:
            await self.access.users.add_group(group, OPERATING)

    async def reset(self) -> None:
        """As if they were just made."""
        for caller in CALLERS[:-1]:
            await self.remake(caller)
        for held in await self.access.grants.list(None, 0, 1000):
            if held.subject != "user:chief":
                await self.access.grants.remove(held.id, OPERATING)

    async def remake(self, caller: str) -> None:
        """Another one of the same name."""
        kind, _, name = caller.partition(":")
        if kind == "user":
            await self.access.users.delete(name, OPERATING)
            await self.access.users.adopt(name, self._hash, OPERATING)
        else:
            await self.access.robots.delete(name, OPERATING)
            await self._make_robot(name)

    async def _make_robot(self, name: str) -> None:
        creator = ROBOTS[name]
        by = Caller(Identity(f"user:{creator}"), "test") if creator else OPERATING
        self._secrets[name] = await add_robot(self.registry, name, by=by)

    async def rotate(self, robot: str, overlap: int) -> None:
        self._secrets[robot] = (await self.access.robots.rotate(robot, 90 * DAY, overlap, OPERATING)).secret

    async def mint(self, caller: str, texts: list[str]) -> str:
        kind, _, name = caller.partition(":")
        login = None
        if kind == "user":
            login = basic(name)["Authorization"]
        elif kind == "robot":
            login = basic(f"robot${name}", self._secrets[name])["Authorization"]
        wanted = TokenRequest(parse_scopes(texts), is_offline=False, peer=HERE, request_id="test")
        return (await self.access.token_service.by_basic(login, wanted)).token

    def identity(self, token: Token, *, for_upload: bool = False) -> Identity | None:
        try:
            return self.run(self.access.authenticator.identify(f"Bearer {token.text}", HERE, for_upload=for_upload))
        except Unauthorized:
            return None

    def named(self, caller: str) -> Identity | None:
        return self.run(self.access.authenticator.named(caller))

    def allowed(self, identity: Identity | None) -> Allowed:
        """What the policy allows, of all that can be asked here."""
        if identity is None:
            return set()
        return {
            (verb, name)
            for verb, name in product(VERBS, NAMES)
            if self.decide(identity, verb, RepositoryName(name)) is None
        }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(directory, "FRESH_SECONDS", 0.0)
        world = World(tmp_path_factory.mktemp("rights"))
        world.run(world.people())
        yield world
        world.close()


class TokenRights(RuleBasedStateMachine):
    """Everything changes that rights depend on; every token is asked about after every change."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.plain = Plain()
        self.tokens: list[Token] = []

    @initialize()
    def start(self) -> None:
        self.world.run(self.world.reset())

    @rule(subject=st.sampled_from(SUBJECTS), pattern=patterns, verbs=st.sets(st.sampled_from(VERBS), min_size=1))
    def give(self, subject: str, pattern: str, verbs: set[Action]) -> None:
        if not subject.startswith(("user:", "group:")):  # nobody else can have it
            verbs = verbs - {Action.ADMIN} or {Action.PULL}
        self.world.run(grant(self.world.registry, subject, {pattern: ",".join(verbs)}))
        self.plain.grants.setdefault((subject, pattern), set()).update(verbs)

    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        if self.plain.grants:
            subject, pattern = data.draw(st.sampled_from(sorted(self.plain.grants)))
            self.world.run(revoke(self.world.registry, subject, pattern))
            del self.plain.grants[subject, pattern]

    @rule(group=st.sampled_from(GROUPS), user=st.sampled_from(USERS))
    def join_or_leave(self, group: str, user: str) -> None:
        member = (group, f"user:{user}")
        users = self.world.access.users
        change = users.remove_member if member in self.plain.members else users.add_member
        self.world.run(change(group, user, OPERATING))
        self.plain.members ^= {member}

    @rule(caller=st.sampled_from(CALLERS[:-1]))
    def disable_or_enable(self, caller: str) -> None:
        kind, _, name = caller.partition(":")
        service = self.world.access.users if kind == "user" else self.world.access.robots
        self.world.run(service.set_disabled(name, OPERATING, disabled=caller not in self.plain.disabled))
        self.plain.disabled ^= {caller}

    @rule(caller=st.sampled_from(CALLERS[:-1]))
    def remake(self, caller: str) -> None:
        self.world.run(self.world.remake(caller))
        self.plain.forget(caller)
        self._end_tokens_of(caller)

    @rule(robot=st.sampled_from(list(ROBOTS)), overlap=st.sampled_from([0, DAY]))
    def rotate(self, robot: str, overlap: int) -> None:
        self.world.run(self.world.rotate(robot, overlap))
        if not overlap:
            self._end_tokens_of(f"robot:{robot}")

    @rule(caller=st.sampled_from(CALLERS), texts=scopes)
    def log_in(self, caller: str, texts: list[str]) -> None:
        if not self.plain.works(caller):
            return
        repositories, registry = asked(texts)
        if caller == "anonymous":
            registry = registry & {"catalog"} if self.plain.pulls_somewhere(caller) else set()
        held = repositories & self.plain.allowed(caller)
        token = Token(self.world.run(self.world.mint(caller, texts)), caller, held, registry)
        self.tokens = [*self.tokens[-TOKENS_LIMIT:], token]

    def _end_tokens_of(self, caller: str) -> None:
        self.tokens = [
            replace(one, credential_lives=one.credential_lives and one.caller != caller) for one in self.tokens
        ]

    def _wanted(self, token: Token) -> Allowed:
        return self.plain.allowed(token.caller) if token.credential_lives else set()

    @invariant()
    def tokens_allow_what_is_granted_and_was_asked_for(self) -> None:
        for token in self.tokens:
            allowed = self.world.allowed(self.world.identity(token))
            assert allowed <= self.plain.allowed(token.caller)
            assert allowed == {one for one in self._wanted(token) if token.is_for(*one)}

    @invariant()
    def uploads_take_what_is_granted(self) -> None:
        """The Location of an upload stands for the scope of a token, not for the right."""
        for token in self.tokens:
            allowed = self.world.allowed(self.world.identity(token, for_upload=True))
            assert allowed == self._wanted(token)

    @invariant()
    def tokens_list_what_is_granted(self) -> None:
        for token in self.tokens:
            identity = self.world.identity(token)
            may = identity is not None and self.world.decide(identity, Action.LIST) is None
            is_let_in = token.caller != "anonymous" or self.plain.pulls_somewhere(token.caller)
            lives = token.credential_lives and self.plain.works(token.caller)
            assert may == (lives and is_let_in and "catalog" in token.registry)

    @invariant()
    def nobody_administers_more_than_is_granted(self) -> None:
        """And no robot at all."""
        for token in self.tokens:
            identity = self.world.identity(token)
            if identity is None:
                continue
            for pattern in map(Pattern, PATTERNS):
                if self.world.registry.policy.administer(identity, pattern) is None:
                    assert token.caller.startswith("user:") and "api" in token.registry
                    inside = {("admin", name) for name in NAMES if matches(pattern.text, name)}
                    assert inside <= self._wanted(token)

    @invariant()
    def robots_may_no_more_than_their_creators(self) -> None:
        for robot, creator in ROBOTS.items():
            allowed = self.world.allowed(self.world.named(f"robot:{robot}"))
            assert allowed == self.plain.allowed(f"robot:{robot}")
            if creator is not None:
                assert allowed <= self.world.allowed(self.world.named(f"user:{creator}"))


def test_tokens_never_allow_more_than_grants(world: World) -> None:
    TokenRights.world = world
    run_state_machine_as_test(TokenRights, settings=settings(max_examples=60, stateful_step_count=30, deadline=None))
