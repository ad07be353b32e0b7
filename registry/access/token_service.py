"""The token service: credentials in, a short-lived token out, for as much of what was asked as the grants give."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection

from registry.access.bearer_tokens import TOKEN_LIMIT, BearerTokens
from registry.access.ci import CiTokens, Login, looks_like_ci
from registry.access.directory import Directory
from registry.access.logins import Logins, parse_basic
from registry.domain.access import ANONYMOUS, Caller, Identity, Peer
from registry.domain.action import Action
from registry.domain.errors import RequestInvalid, Unauthorized, Unavailable
from registry.domain.names import RepositoryName
from registry.domain.scopes import ANY_ACTION, REGISTRY, REPOSITORY, Scope
from registry.domain.secret_text import REFRESH_PREFIX, hash_of, make_secret, secret_id_of
from registry.metadata import events, tokens
from registry.metadata.database import Database

DAY = 86_400_000
REFRESH_LIFETIME = 30 * DAY
# Logins that are kept of one credential: the oldest end for new ones
REFRESH_LIMIT = 100
# Prolonged at most this often
REFRESH_STEP = DAY
# As whom failed tries of jobs are counted
_ANY_JOB = "(ci)"
_VERBS = {"pull": Action.PULL, "push": Action.PUSH, "delete": Action.DELETE}


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What a client asks for. `is_offline`: it wants a refresh token, to keep in the password's place."""

    scopes: Sequence[Scope]
    is_offline: bool
    peer: Peer
    request_id: str


@dataclass(frozen=True, slots=True)
class Issued:
    """Times in milliseconds."""

    subject: str
    token: str
    refresh_token: str | None
    issued_at: int
    lifetime: int
    granted: Sequence[Scope]


class TokenService:
    """Issues tokens. `lifetime` in milliseconds. Raises Unauthorized, Denied, TooManyRequests, RequestInvalid."""

    def __init__(
        self,
        database: Database,
        directory: Directory,
        logins: Logins,
        ci: CiTokens,
        bearer_tokens: BearerTokens,
        *,
        lifetime: int,
        now: Callable[[], int],
    ) -> None:
        self._database = database
        self._directory = directory
        self._logins = logins
        self._ci = ci
        self._bearer_tokens = bearer_tokens
        self._lifetime = lifetime
        self._now = now

    async def by_basic(self, value: str | None, request: TokenRequest) -> Issued:
        """For the Authorization of a GET; without one, for anybody."""
        await self._directory.renew()
        if value is None:
            anonymous = Identity(ANONYMOUS.name, await self._directory.anonymous())
            return await self._issue(anonymous, request, self._lifetime)
        scheme, _, encoded = value.partition(" ")
        if scheme.lower() != "basic":
            raise Unauthorized("the token service takes user name and password (Basic)")
        name, password = parse_basic(encoded)
        return await self._by_password(name, password, request)

    async def by_password(self, name: str, password: str, request: TokenRequest) -> Issued:
        """For a POST with grant_type=password."""
        await self._directory.renew()
        return await self._by_password(name, password, request)

    async def by_refresh(self, text: str, request: TokenRequest) -> Issued:
        """For a POST with grant_type=refresh_token; the refresh token stays good and is given back."""
        self._logins.check_way(request.peer)
        await self._directory.renew()
        stored = None
        if secret_id_of(REFRESH_PREFIX, text) is not None:
            stored = await self._database.read(tokens.find_refresh, hash_of(text))
        rights = await self._directory.rights_of(stored.subject, stored.credential) if stored else None
        if stored is None or rights is None or stored.left <= 0:
            raise Unauthorized("this login has ended; log in again")
        is_job = stored.subject.startswith("ci:")
        if not is_job and stored.left < REFRESH_LIFETIME - REFRESH_STEP:
            with suppress(Unavailable):  # it is good for weeks still
                await self._database.write(tokens.prolong_refresh, hash_of(text), REFRESH_LIFETIME)
        identity = Identity(stored.subject, rights, is_known=True, credential=stored.credential)
        return await self._issue(
            identity, request, min(self._lifetime, stored.left) if is_job else self._lifetime, text
        )

    async def _by_password(self, name: str, password: str, request: TokenRequest) -> Issued:
        if looks_like_ci(password):
            return await self._by_ci_token(password, request)
        identity = await self._logins.by_password(name, password, request.peer)
        refresh = None
        if request.is_offline:
            refresh = await self._log_in(identity, request, REFRESH_LIFETIME, {})
        return await self._issue(identity, request, self._lifetime, refresh)

    async def _by_ci_token(self, token: str, request: TokenRequest) -> Issued:
        """A job logs in with its first request that gets it something. `podman login` asks for nothing yet."""
        self._logins.check_way(request.peer)
        self._logins.check_tries(_ANY_JOB, request.peer)
        try:
            login = await self._ci.check(token)
        except Unauthorized:
            await self._logins.failed(_ANY_JOB, request.peer)
            raise
        found = await self._directory.rule(login.rule.name)
        if found is None:
            raise Unauthorized("the rule for this job is gone")
        rule_id, rights = found
        identity = Identity(f"ci:{login.rule.name}", rights, is_known=True, credential=f"ci.{rule_id}.{login.jti}")
        try:
            if not request.scopes and not request.is_offline:
                await self._ci.check_use(login, request.peer.address)
                return await self._issue(identity, request, self._lifetime)
            # whoever keeps a refresh token needs no second use
            is_first = await self._ci.use(login, None if request.is_offline else request.peer.address)
        except Unauthorized:
            await self._logins.failed(_ANY_JOB, request.peer, {"user": identity.name, **_facts(login)})
            raise
        refresh = await self._log_in(identity, request, login.rule.lifetime, _facts(login)) if is_first else None
        return await self._issue(identity, request, login.rule.lifetime, refresh)

    async def _log_in(
        self, identity: Identity, request: TokenRequest, lifetime: int, facts: dict[str, object]
    ) -> str | None:
        """Leave an event; return a refresh token if one was asked for."""
        caller = Caller(identity, request.request_id, request.peer.address)
        secret = make_secret(REFRESH_PREFIX)[0] if request.is_offline else None
        await self._database.write(_log_in, caller, secret and hash_of(secret), lifetime, facts)
        return secret

    async def _issue(
        self, identity: Identity, request: TokenRequest, lifetime: int, refresh: str | None = None
    ) -> Issued:
        granted, refused = [], []
        for scope in request.scopes:
            wanted = _all(scope) if ANY_ACTION in scope.actions else scope.actions
            given = wanted & _held(identity, scope)
            granted += [Scope(scope.kind, scope.name, given)] if given else []
            refused += [Scope(scope.kind, scope.name, wanted - given)] if wanted - given else []
        token = await self._bearer_tokens.mint(identity.name, identity.credential, granted, refused, lifetime)
        if len(token) > TOKEN_LIMIT:
            raise RequestInvalid("a token for all these scopes would be too long; ask for fewer")
        return Issued(identity.name, token, refresh, self._now(), lifetime, granted)


def _all(scope: Scope) -> frozenset[str]:
    return frozenset(_VERBS) if scope.kind == REPOSITORY else frozenset({ANY_ACTION})


def _held(identity: Identity, scope: Scope) -> frozenset[str]:
    """What of a resource the identity may have in a token."""
    if scope.kind == REPOSITORY and RepositoryName.is_valid(scope.name):
        return frozenset(word for word, verb in _VERBS.items() if identity.rights.allow(verb, scope.name))
    is_open = identity.is_known or (scope.name == "catalog" and identity.rights.anywhere(Action.PULL))
    if scope.kind == REGISTRY and scope.name in ("catalog", "api") and is_open:
        return frozenset({ANY_ACTION})
    return frozenset()


def _facts(login: Login) -> dict[str, object]:
    return {"issuer": login.issuer, **login.facts}


def _log_in(
    connection: Connection, caller: Caller, token_hash: str | None, lifetime: int, facts: dict[str, object]
) -> None:
    identity = caller.identity
    if token_hash is not None:
        tokens.keep_newest_refresh(connection, identity.credential, REFRESH_LIMIT - 1)
        tokens.insert_refresh(connection, token_hash, identity.name, identity.credential, lifetime)
    events.append_access(connection, caller, "login", facts)
