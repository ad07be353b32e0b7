"""CI without secrets: a job's identity token is the password of one login, or of one command where its rule says so."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from registry.access.ci_token import CiToken, NotATokenError, looks_like_ci, parse_token
from registry.access.issuers import Issuers
from registry.domain.ci import Rule
from registry.domain.ci_claims import LEEWAY, Check, examine, facts
from registry.domain.errors import Unauthorized
from registry.metadata import ci
from registry.metadata.database import Database

__all__ = ["CiTokens", "Examined", "Login", "looks_like_ci"]

# What an event tells of a job
FACTS = ("sub", "repository", "ref", "run_id", "actor", "project_path", "pipeline_id", "user_login")
_REFUSED = "this CI token is not accepted; `digestry ci test` tells which claim of which rule it fails"
_USED = "this CI token was used before; a job asks for a new one for each login"
_REUSE = "podman, buildah and containerd use one several times, which `digestry ci add --reuse 10s` allows"


@dataclass(frozen=True, slots=True)
class Login:
    """What a token is worth: the rights of `ci:<rule>` until `expires_at`. Times in milliseconds.

    The login may outlive the token. `void_at` is when nobody accepts the token any more.
    """

    rule: Rule
    issuer: str
    jti: str
    expires_at: int
    void_at: int
    facts: dict[str, str]


@dataclass(frozen=True, slots=True)
class Examined:
    rule: Rule
    checks: Sequence[Check]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


class CiTokens:
    """The service of CI jobs' tokens. `now` tells the time in milliseconds."""

    def __init__(self, database: Database, issuers: Issuers, now: Callable[[], int]) -> None:
        self._database = database
        self._issuers = issuers
        self._now = now

    async def check(self, token: str) -> Login:
        """The login that the token is good for, by the first rule that it passes; raise Unauthorized.

        Nothing is used up, so that a token may be checked again until something is handed out for it.
        """
        try:
            parsed = parse_token(token)
        except NotATokenError as error:
            raise Unauthorized(_REFUSED) from error
        rules = await self._database.read(ci.rules_of_issuer, parsed.issuer)
        if not rules or not await self._is_signed(parsed):
            raise Unauthorized(_REFUSED)
        now = self._now()
        for rule in rules:
            if all(check.passed for check in examine(rule, parsed.claims, now // 1000)):
                return _login(rule, parsed, now)
        raise Unauthorized(_REFUSED)

    async def use(self, login: Login, address: str | None) -> bool:
        """Use the token, once more where its rule lets it: then return False; raise Unauthorized.

        None for an address: nobody may use it again.
        """
        before = await self._database.write(ci.use_jti, login.issuer, login.jti, login.void_at, address)
        _check_reuse(login.rule, before, address)
        return before is None

    async def check_use(self, login: Login, address: str) -> None:
        """Raise Unauthorized when the token can't be used from there any more; uses nothing up."""
        _check_reuse(login.rule, await self._database.read(ci.find_use, login.issuer, login.jti), address)

    async def explain(self, token: str) -> list[Examined]:
        """What every rule finds in a token, by name of rule; uses nothing up."""
        rules = await self._database.read(ci.all_rules)
        try:
            parsed = parse_token(token)
        except NotATokenError as error:
            return [Examined(rule, [Check("form", passed=False, detail=str(error))]) for rule in rules]
        signature = await self._signature(parsed, rules)
        unused = await self._unused(parsed)
        seconds = self._now() // 1000
        return [Examined(rule, [signature, *examine(rule, parsed.claims, seconds), unused]) for rule in rules]

    async def _is_signed(self, token: CiToken) -> bool:
        keys = await self._issuers.keys(token.issuer, token.kid)
        return keys is not None and token.is_signed_by(keys)

    async def _signature(self, token: CiToken, rules: Sequence[Rule]) -> Check:
        if all(rule.issuer != token.issuer for rule in rules):
            return Check(
                "signature", passed=False, detail="no rule is for the token's issuer, so nobody asked its keys"
            )
        keys = await self._issuers.keys(token.issuer, token.kid)
        if keys is None:
            detail = f"no key {token.kid!r} of this issuer is known; it is asked at most once a minute"
            return Check("signature", passed=False, detail=detail)
        detail = f"expected {token.algorithm} by the issuer's key {token.kid!r}"
        return Check("signature", passed=token.is_signed_by(keys), detail=detail)

    async def _unused(self, token: CiToken) -> Check:
        use = await self._database.read(ci.find_use, token.issuer, str(token.claims.get("jti")))
        return Check("single use", passed=use is None, detail="used before" if use else "not used so far")


def _check_reuse(rule: Rule, before: ci.Use | None, address: str | None) -> None:
    if before is None:
        return
    in_time = 0 <= before.age < rule.reuse
    if not in_time or address is None or address != before.address:
        raise Unauthorized(_USED if rule.reuse else f"{_USED}; {_REUSE}")


def _login(rule: Rule, token: CiToken, now: int) -> Login:
    jti, expiry = token.claims["jti"], token.claims["exp"]
    assert isinstance(jti, str) and isinstance(expiry, int), "examine has checked these"
    return Login(
        rule=rule,
        issuer=rule.issuer,
        jti=jti,
        expires_at=now + rule.lifetime,
        # once more the leeway: what was checked at the last moment is used a little later
        void_at=(expiry + 2 * LEEWAY) * 1000,
        facts=facts(token.claims, FACTS),
    )
