"""Names and passwords: whose they are, how often one may try, and what is remembered of it."""

import base64
import hmac
import logging
import time
from collections.abc import Mapping
from contextlib import suppress

from registry import metrics
from registry.access.ci_token import looks_like_ci
from registry.access.directory import Directory, Machine, Person, robot_credential
from registry.access.limits import RateLimits
from registry.access.passwords import Passwords
from registry.domain.access import ANONYMOUS, Caller, Identity, Peer
from registry.domain.errors import Denied, Unauthorized, Unavailable
from registry.domain.secret_text import ROBOT_PREFIX, hash_of, secret_id_of
from registry.metadata import events, robots
from registry.metadata.database import Database
from registry.metadata.robots import Secret

log = logging.getLogger(__name__)

BASIC_LIMIT = 8 * 1024
ROBOT_USER = "robot$"
# How exact "last used" is
TOUCH_SECONDS = 3600.0


class Logins:
    """Checks passwords of users and secrets of robots. `plain`: also those that somebody on the way may have read."""

    def __init__(
        self, database: Database, directory: Directory, passwords: Passwords, limits: RateLimits, *, plain: bool
    ) -> None:
        self._database = database
        self._directory = directory
        self._passwords = passwords
        self._limits = limits
        self._plain = plain
        self._touched: dict[str, float] = {}

    async def by_basic(self, value: str, peer: Peer) -> Identity:
        """Who sent these credentials (RFC 7617); raise Unauthorized, Denied or TooManyRequests."""
        name, password = parse_basic(value)
        return await self.by_password(name, password, peer)

    async def by_password(self, name: str, password: str, peer: Peer) -> Identity:
        """The user or robot; raise what `by_basic` raises."""
        self.check_way(peer)
        self.check_tries(name, peer)
        if looks_like_ci(password):
            raise Unauthorized("a CI token logs in once, at the token service; that takes http.host in the settings")
        if name.startswith(ROBOT_USER):
            found = await self._robot(name.removeprefix(ROBOT_USER), password)
        else:
            found = await self._user(name, password, peer)
        if found is None:
            await self.failed(name, peer)
            raise Unauthorized("the user name or the password is wrong, expired or disabled")
        return found

    def check_way(self, peer: Peer) -> None:
        """Raise Denied for a password that came over plain HTTP."""
        if not (peer.is_private or self._plain):
            raise Denied(
                "passwords are not taken over plain HTTP: use https; behind a proxy that ends TLS, "
                "name it in http.trustedproxies; or set auth.plainhttp where nobody can read the network"
            )

    def check_tries(self, name: str, peer: Peer) -> None:
        """Raise TooManyRequests when this name or this address has failed too often, whatever it sends now."""
        self._limits.check_login(peer.address, name)

    async def failed(self, name: str, peer: Peer, facts: Mapping[str, object] | None = None) -> None:
        """Count and record a failure, with what is known of it for sure.

        Else only a name that exists is recorded: others may be mistyped passwords.
        """
        metrics.login_failed()
        spraying = self._limits.login_failed(peer.address, name)
        caller = Caller(ANONYMOUS, "", peer.address)
        with suppress(Unavailable):  # the refusal stands without its record
            if facts is None:
                facts = {"user": name if await self._is_known(name) else "(unknown)"}
            await self._database.write(events.append_access, caller, "login.failed", facts)
            if spraying:
                log.warning("too many failed logins from one address", extra={"address": peer.address})
                await self._database.write(events.append_access, caller, "login.flood", {})

    async def _is_known(self, name: str) -> bool:
        if name.startswith(ROBOT_USER):
            return await self._directory.machine(name.removeprefix(ROBOT_USER)) is not None
        return await self._directory.person(name) is not None

    async def _user(self, name: str, password: str, peer: Peer) -> Identity | None:
        person = await self._directory.person(name)
        stored = person.password if person else None
        if not self._passwords.recall(name, password, stored):
            is_right = await self._passwords.check(
                name,
                password,
                stored,
                truncates=person is not None and person.is_from_file,
                like=self._directory.costliest,
                guard=lambda: self.check_tries(name, peer),
            )
            if not is_right:
                return None
        return _person(name, person) if person else None

    async def _robot(self, name: str, text: str) -> Identity | None:
        secret_id = secret_id_of(ROBOT_PREFIX, text)
        machine = await self._directory.machine(name)
        if secret_id is None or machine is None:
            return None
        found = _find(machine, secret_id, text)
        if found is None or not self._directory.has_secret(machine, robot_credential(found)):
            return None
        await self._touch(found)
        return Identity(f"robot:{name}", machine.rights, is_known=True, credential=robot_credential(found))

    async def _touch(self, secret: Secret) -> None:
        now = time.monotonic()
        if now - self._touched.get(secret.id, -TOUCH_SECONDS) >= TOUCH_SECONDS:
            self._touched[secret.id] = now
            with suppress(Unavailable):
                await self._database.write(robots.touch_secret, secret.id)


def parse_basic(value: str) -> tuple[str, str]:
    """Name and password; raise Unauthorized for what is none (A-10)."""
    name = colon = password = ""
    if len(value) <= BASIC_LIMIT:
        with suppress(ValueError):  # neither base64 nor UTF-8
            name, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    if not (name and colon):
        raise Unauthorized("this is no user name with a password (RFC 7617)")
    return name, password


def _person(name: str, person: Person) -> Identity:
    return Identity(f"user:{name}", person.rights, is_known=True, credential=person.credential)


def _find(machine: Machine, secret_id: str, text: str) -> Secret | None:
    given = hash_of(text)
    for secret in machine.secrets:
        if secret.id == secret_id and hmac.compare_digest(secret.hash, given):
            return secret
    return None
