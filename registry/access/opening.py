"""Everything about access, put together."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from registry.access.audit import Audit
from registry.access.authenticator import Authenticator
from registry.access.bearer_tokens import BearerTokens
from registry.access.ci import CiTokens
from registry.access.denials import Denials
from registry.access.directory import Directory
from registry.access.explain import Explain
from registry.access.grants import Grants
from registry.access.htpasswd import Htpasswd
from registry.access.issuers import Issuers
from registry.access.limits import RateLimits
from registry.access.logins import Logins
from registry.access.passwords import Passwords
from registry.access.robots import Robots
from registry.access.rules import Rules
from registry.access.signing_keys import SigningKeys
from registry.access.token_service import TokenService
from registry.access.users import Users
from registry.domain.access import Identity
from registry.metadata import ci, tokens
from registry.metadata.database import Database

# Rows that one transaction removes
EXPIRY_BATCH = 100


@dataclass(frozen=True, slots=True)
class AccessOptions:
    """Plain values of the settings. Times in milliseconds.

    `opened`: who everybody is where nobody is asked, None where everybody is. `issuer` and `service` name this
    registry in tokens.
    """

    opened: Identity | None
    htpasswd: Path | None
    everything_for_file: bool
    plain: bool
    issuer: str
    service: str
    token_lifetime: int
    upload_expiry: int


@dataclass(frozen=True, slots=True)
class Access:
    """The services of access."""

    authenticator: Authenticator
    logins: Logins
    token_service: TokenService
    limits: RateLimits
    denials: Denials
    users: Users
    robots: Robots
    grants: Grants
    rules: Rules
    ci: CiTokens
    explain: Explain
    audit: Audit
    htpasswd: Htpasswd | None
    passwords: Passwords
    issuers: Issuers
    database: Database

    async def forget_expired(self) -> None:
        """Remove logins whose time is over: nothing is decided by their rows any more."""
        for forget in (tokens.remove_expired_refresh, ci.remove_expired_logins):
            while await self.database.write(forget, EXPIRY_BATCH):
                pass

    async def close(self) -> None:
        await self.passwords.close()
        await self.issuers.close()


def open_access(database: Database, options: AccessOptions, limits: RateLimits, now: Callable[[], int]) -> Access:
    """Wire the services of access. Raises Invalid when the htpasswd file can't be read."""
    htpasswd = Htpasswd(options.htpasswd) if options.htpasswd else None
    directory = Directory(database, now=now, htpasswd=htpasswd, everything_for_file=options.everything_for_file)
    passwords = Passwords()
    logins = Logins(database, directory, passwords, limits, plain=options.plain)
    keys = SigningKeys(database, directory, now)
    bearer_tokens = BearerTokens(keys, issuer=options.issuer, audience=options.service, now=now)
    issuers = Issuers(database)
    ci_tokens = CiTokens(database, issuers, now)
    return Access(
        authenticator=Authenticator(
            directory, logins, bearer_tokens, opened=options.opened, upload_expiry=options.upload_expiry, now=now
        ),
        logins=logins,
        token_service=TokenService(
            database, directory, logins, ci_tokens, bearer_tokens, lifetime=options.token_lifetime, now=now
        ),
        limits=limits,
        denials=Denials(database),
        users=Users(database, passwords),
        robots=Robots(database),
        grants=Grants(database),
        rules=Rules(database),
        ci=ci_tokens,
        explain=Explain(directory, options.opened),
        audit=Audit(database),
        htpasswd=htpasswd,
        passwords=passwords,
        issuers=issuers,
        database=database,
    )
