"""The form and the signature of a CI job's token; what it says is for the rules (domain/ci_claims).

Nothing that the token brings along is a key, or leads to one (reliability A-02, e-3).
"""

import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwa import EdDSAAlgorithm
from joserfc.jwk import Key, KeySet
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64decode

from registry.domain.errors import ManifestInvalid
from registry.domain.strict_json import Json, JsonObject, parse_object

TOKEN_LIMIT = 8 * 1024
# No bcrypt password is as long (bcrypt's limit)
PASSWORD_LIMIT = 72
_REFUSED_HEADERS = ("crit", "b64", "jwk", "jku", "x5u", "x5c")


class Kind(NamedTuple):
    """Of a key: its type, and its curve if that is a choice."""

    type: str
    curve: str | None = None


# Signatures that only the issuer can make
ALGORITHMS = {
    "RS256": Kind("RSA"),
    "RS384": Kind("RSA"),
    "RS512": Kind("RSA"),
    "PS256": Kind("RSA"),
    "ES256": Kind("EC", "P-256"),
    "ES384": Kind("EC", "P-384"),
    "ES512": Kind("EC", "P-521"),
    "EdDSA": Kind("OKP", "Ed25519"),
}


class _EdDSA(EdDSAAlgorithm):
    # RFC 9864 gave it another name; issuers use this one, and `Kind` names the curve
    security_warning = ""


class _Registry(JWSRegistry):
    algorithms = {**JWSRegistry.algorithms, "EdDSA": _EdDSA()}  # noqa: RUF012 - as the library has it


_REGISTRY = _Registry(algorithms=tuple(ALGORITHMS), strict_check_header=False)


class NotATokenError(ValueError):
    """What is wrong with its form; tells nothing of its content."""


@dataclass(frozen=True, slots=True)
class CiToken:
    """A token as it came; its claims are hearsay until a key verified it."""

    text: str
    algorithm: str
    kid: str
    claims: Mapping[str, Json]

    @property
    def issuer(self) -> str:
        """Who it says has signed it; "" when it does not say."""
        said = self.claims.get("iss")
        return said if isinstance(said, str) else ""

    def is_signed_by(self, keys: KeySet) -> bool:
        """Whether one of these keys made the signature, and is for the algorithm that the token names."""
        return any(self._is_signed_by(key) for key in keys)

    def _is_signed_by(self, key: Key) -> bool:
        try:
            jws.deserialize_compact(self.text, key, registry=_REGISTRY)
        except (JoseError, ValueError):
            return False
        return True


def looks_like_ci(password: str) -> bool:
    """Whether it can only be a token, and no password."""
    parts = password.split(".")
    return len(parts) == 3 and all(parts) and password.startswith("eyJ") and len(password) > PASSWORD_LIMIT


def parse_token(text: str) -> CiToken:
    """Read the parts of a token; raise NotATokenError."""
    if len(text) > TOKEN_LIMIT or not text.isascii():
        raise NotATokenError(f"a token is at most {TOKEN_LIMIT // 1024} KiB of ASCII")
    parts = text.split(".")
    if len(parts) != 3:
        raise NotATokenError("a token has three parts")
    header, claims = (_object(part) for part in parts[:2])
    if refused := [name for name in _REFUSED_HEADERS if name in header]:
        raise NotATokenError(f"the header has {', '.join(refused)}")
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise NotATokenError(f"the header's alg is none of {', '.join(ALGORITHMS)}")
    if not isinstance(kid, str) or not kid:
        raise NotATokenError("the header has no kid")
    return CiToken(text, algorithm, kid, claims)


def _object(part: str) -> JsonObject:
    try:
        return parse_object(urlsafe_b64decode(part.encode()))
    except (ManifestInvalid, binascii.Error) as error:
        raise NotATokenError("a part is not base64url of one JSON object in which every name is once") from error
