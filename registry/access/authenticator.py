"""From the Authorization header to an identity with the rights of now."""

from collections.abc import Callable
from dataclasses import replace

from registry.access.bearer_tokens import LEEWAY, BearerTokens
from registry.access.directory import Directory
from registry.access.logins import Logins
from registry.domain.access import ANONYMOUS, Identity, Peer
from registry.domain.action import Action
from registry.domain.errors import Unauthorized
from registry.domain.names import RepositoryName

# Headers, each of at most 24 KiB
RECENT_LIMIT = 1000


class Authenticator:
    """Says who asks. `opened`: who everybody is where nobody is asked. Times in milliseconds."""

    def __init__(
        self,
        directory: Directory,
        logins: Logins,
        bearer_tokens: BearerTokens,
        *,
        opened: Identity | None,
        upload_expiry: int,
        now: Callable[[], int],
    ) -> None:
        self._directory = directory
        self._logins = logins
        self._bearer_tokens = bearer_tokens
        self._opened = opened
        self._recent: dict[str | None, Identity] = {}
        self._recent_as_of = 0.0
        self._upload_expiry = upload_expiry
        self._now = now

    def recall(self, authorization: str | None, *, for_upload: bool) -> Identity | None:
        """What `identify` has said in this second; None when it must be asked. Passwords are not kept for this."""
        if self._opened is not None:
            return self._opened
        directory = self._directory
        if for_upload or directory.as_of != self._recent_as_of or not directory.is_fresh():
            return None
        return self._recent.get(authorization)

    async def identify(self, authorization: str | None, peer: Peer, *, for_upload: bool = False) -> Identity:
        """Raise Unauthorized for bad credentials, Denied for a password in the clear, TooManyRequests, Unavailable.

        `for_upload`: the request goes on with an upload of the same subject. Its Location replaces the token's scope
        and outlives the token, but never the right (design, section 8).
        """
        if self._opened is not None:
            return self._opened
        await self._directory.renew()
        as_of = self._directory.as_of
        if authorization is None:
            return self._keep(None, Identity(ANONYMOUS.name, await self._directory.anonymous()), as_of)
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() == "bearer":
            found = await self._bearer(value.strip(), for_upload)
            return found if for_upload else self._keep(authorization, found, as_of)
        if scheme.lower() == "basic":
            return await self._logins.by_basic(value, peer)
        raise Unauthorized("send the Authorization of this answer's WWW-Authenticate")

    def _keep(self, authorization: str | None, found: Identity, as_of: float) -> Identity:
        """Remember it until the directory is renewed, by whomever; not at all if it was meanwhile."""
        if as_of == self._directory.as_of:
            if as_of != self._recent_as_of or len(self._recent) > RECENT_LIMIT:
                self._recent.clear()
                self._recent_as_of = as_of
            self._recent[authorization] = found
        return found

    async def again(self, identity: Identity) -> Identity:
        """The same with the rights of now, for requests that take long; raise Unauthorized when it is good no more."""
        if self._opened is not None:
            return identity
        await self._directory.renew()
        return replace(await self._now_of(identity.name, identity.credential), token=identity.token)

    async def may_push(self, name: str, repository: RepositoryName) -> bool:
        """Whether a subject has the right, by whatever credential; read-only mode does not take it away."""
        found = await self.named(name)
        return found is not None and found.rights.allow(Action.PUSH, repository)

    async def named(self, name: str) -> Identity | None:
        """Whom a subject means now; None for one that can't log in."""
        if self._opened is not None:
            return self._opened
        await self._directory.renew()
        rights = await self._directory.rights_of(name)
        return None if rights is None else Identity(name, rights, is_known=name != ANONYMOUS.name)

    async def _bearer(self, token: str, for_upload: bool) -> Identity:
        verified = await self._bearer_tokens.verify(token)
        if verified is None:
            raise Unauthorized("the token is not one of this registry; get another one")
        late = self._now() - verified.expires_at
        if late > (self._upload_expiry if for_upload else LEEWAY):
            raise Unauthorized("the token has expired; get another one")
        found = await self._now_of(verified.subject, verified.credential)
        return found if for_upload else replace(found, token=verified.scope)

    async def _now_of(self, subject: str, credential: str) -> Identity:
        rights = await self._directory.rights_of(subject, credential)
        if rights is None:
            raise Unauthorized("the credential is good no more; log in again")
        return Identity(subject, rights, is_known=subject != ANONYMOUS.name, credential=credential)
