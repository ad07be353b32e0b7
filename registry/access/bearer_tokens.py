"""Bearer tokens: short-lived, signed, for the scopes they were asked for. They prove who asks, never what is allowed:
that is looked up at each use.
"""

import json
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.util import urlsafe_b64decode

from registry.access.signing_keys import SigningKeys
from registry.domain.errors import ManifestInvalid
from registry.domain.scopes import Scope, TokenScope
from registry.domain.strict_json import parse_object

TOKEN_LIMIT = 8 * 1024
LEEWAY = 60_000
CACHE_LIMIT = 4096
_ALGORITHM = "ES256"
# Another class of tokens can't be taken for this one (RFC 8725 section 3.11)
_TYPE = "at+registry"


class _Scope(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    name: str
    actions: frozenset[str]


class _Claims(msgspec.Struct, forbid_unknown_fields=True):
    """All that a token of ours says, and nothing else (A-04)."""

    iss: str
    aud: str
    sub: str
    cid: str
    iat: int
    exp: int
    jti: str
    access: list[_Scope]
    refused: list[_Scope]


@dataclass(frozen=True, slots=True)
class Verified:
    """A token of ours, whole and signed. `expires_at` in milliseconds: whoever uses it judges the time."""

    subject: str
    credential: str
    scope: TokenScope
    expires_at: int


class BearerTokens:
    """Mints and verifies. `issuer` and `audience` are this registry's address; times in milliseconds."""

    def __init__(self, keys: SigningKeys, *, issuer: str, audience: str, now: Callable[[], int]) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._now = now
        self._verified: OrderedDict[bytes, Verified] = OrderedDict()

    async def mint(
        self, subject: str, credential: str, granted: Sequence[Scope], refused: Sequence[Scope], lifetime: int
    ) -> str:
        """A token for what was granted; what was refused stands in it too, so that nobody asks in circles."""
        key = await self._keys.newest()
        now = self._now() // 1000
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": subject,
            "cid": credential,
            # a process whose clock is behind by twice the leeway takes it too
            "iat": now - LEEWAY // 1000,
            "exp": now + lifetime // 1000,
            "jti": secrets.token_hex(8),
            "access": [_claim(scope) for scope in granted],
            "refused": [_claim(scope) for scope in refused],
        }
        header = {"alg": _ALGORITHM, "kid": key.kid, "typ": _TYPE}
        return jws.serialize_compact(header, json.dumps(claims).encode(), key, algorithms=[_ALGORITHM])

    async def verify(self, token: str) -> Verified | None:
        """None for what is no token of ours. Signatures are checked once for each token and process."""
        if len(token) > TOKEN_LIMIT or not token.isascii():
            return None
        digest = sha256(token.encode()).digest()
        known = self._verified.get(digest)
        if known is None:
            known = await self._check(token)
            if known is not None:
                self._verified[digest] = known
                if len(self._verified) > CACHE_LIMIT:
                    self._verified.popitem(last=False)
        return known

    async def _check(self, token: str) -> Verified | None:
        try:
            header = parse_object(urlsafe_b64decode(token.partition(".")[0].encode()))
            # Nothing else is allowed in it: no key of the token's own, no `crit`, no `b64` (reliability e-3)
            if header != {"alg": _ALGORITHM, "kid": header.get("kid"), "typ": _TYPE}:
                return None
            key = await self._keys.find(str(header["kid"]))
            if key is None:
                return None
            payload = jws.deserialize_compact(token, key, algorithms=[_ALGORITHM]).payload
            claims = msgspec.json.decode(payload, type=_Claims)
        except (JoseError, ManifestInvalid, msgspec.DecodeError, ValueError):
            return None
        return self._read(claims)

    def _read(self, claims: _Claims) -> Verified | None:
        is_ours = claims.iss == self._issuer and claims.aud == self._audience
        if not is_ours or claims.iat * 1000 > self._now() + LEEWAY:
            return None
        scope = TokenScope.of(_scopes(claims.access), _scopes(claims.refused))
        return Verified(claims.sub, claims.cid, scope, claims.exp * 1000)


def _claim(scope: Scope) -> dict[str, object]:
    return {"type": scope.kind, "name": scope.name, "actions": sorted(scope.actions)}


def _scopes(claims: Sequence[_Scope]) -> list[Scope]:
    return [Scope(claim.type, claim.name, claim.actions) for claim in claims]
