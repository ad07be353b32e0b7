"""The keys of CI issuers: one row for all processes, and one process that fetches them, once a minute at most.

Tokens of strangers cause these fetches, so a fetch is bound in time and size, and its failure changes nothing.
"""

import asyncio
import json
import logging
from collections.abc import Iterator
from itertools import islice

from aiohttp import ClientError, ClientSession
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, import_key
from joserfc.util import base64_to_int

from registry.access.ci_token import ALGORITHMS, Kind
from registry.domain.ci import is_secure
from registry.domain.errors import ManifestInvalid
from registry.domain.strict_json import Json, JsonObject, parse_object
from registry.metadata import ci
from registry.metadata.ci import IssuerRow
from registry.metadata.database import Database

PAUSE = 60_000
# A key that was withdrawn is trusted no longer than this, while its issuer answers
FRESH = 3_600_000
FETCH_SECONDS = 5.0
ANSWER_LIMIT = 1024 * 1024
KEYS_LIMIT = 100
# What another process needs for a fetch, most of the time
OTHERS_FETCH_SECONDS = 1.0
RSA_BITS = range(2048, 8192 + 1)

_DISCOVERY = "/.well-known/openid-configuration"
# All that verifying needs; the private members are not among them
_MEMBERS = ("kty", "kid", "use", "alg", "n", "e", "crv", "x", "y")
_KINDS = set(ALGORITHMS.values())
_ANSWER_FAILED = "answers with something else than 200 and at most 1 MiB of JSON"

log = logging.getLogger(__name__)


class _UnusableError(ValueError):
    """What is wrong with an issuer's answer."""


class Issuers:
    """The service of issuers' keys. Close it in the loop that used it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._session: ClientSession | None = None
        self._renewals: dict[str, asyncio.Task[None]] = {}

    async def keys(self, issuer: str, kid: str) -> KeySet | None:
        """The issuer's keys of that id, fetched when they are unknown or old and it is time; None without any."""
        row = await self._database.read(ci.find_issuer, issuer)
        known = _of_id(row, kid)
        is_due = row is None or not 0 <= row.tried < PAUSE
        if known is not None and (_is_fresh(row) or not is_due):
            return known
        if not is_due and not _is_being_asked(row):
            return None
        await self._renew(issuer)
        return _of_id(await self._database.read(ci.find_issuer, issuer), kid)

    async def close(self) -> None:
        """Stop what runs."""
        renewals = list(self._renewals.values())
        for renewal in renewals:
            renewal.cancel()
        await asyncio.gather(*renewals, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _renew(self, issuer: str) -> None:
        """All who wait share one fetch; a client that leaves does not end it, since it took the turn of a minute."""
        renewal = self._renewals.get(issuer)
        if renewal is None:
            renewal = asyncio.create_task(self._renew_in_turn(issuer))
            self._renewals[issuer] = renewal
            renewal.add_done_callback(lambda _: self._renewals.pop(issuer))
        await asyncio.shield(renewal)

    async def _renew_in_turn(self, issuer: str) -> None:
        if not await self._database.write(ci.take_turn, issuer, PAUSE):
            await asyncio.sleep(OTHERS_FETCH_SECONDS)
            return
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                keys = await self._fetch(issuer)
        except (ClientError, OSError, ValueError, ManifestInvalid) as error:
            log.warning("the keys of %s could not be fetched, old ones stay: %s", issuer, _reason(error))
            return
        await self._database.write(ci.put_keys, issuer, json.dumps({"keys": keys}))

    async def _fetch(self, issuer: str) -> list[dict[str, Json]]:
        # OpenID Connect Discovery 1.0, section 4.1
        found = await self._get(issuer.removesuffix("/") + _DISCOVERY)
        if found.get("issuer") != issuer:
            raise _UnusableError("its discovery document names another issuer")
        address = found.get("jwks_uri")
        if not isinstance(address, str) or not _may_lead_to(issuer, address):
            raise _UnusableError("its jwks_uri is no https:// address")
        keys = list(islice(_usable(await self._get(address)), KEYS_LIMIT))
        if not keys:
            raise _UnusableError("it has no key that can be used")
        return keys

    async def _get(self, url: str) -> JsonObject:
        if self._session is None:
            # No decompression: a bomb is just no JSON
            self._session = ClientSession(
                auto_decompress=False,
                headers={"Accept-Encoding": "identity"},
                trust_env=True,  # a proxy of HTTPS_PROXY
            )
        async with self._session.get(url, allow_redirects=False) as response:
            body = bytearray()
            if response.status == 200:
                async for piece in response.content.iter_any():
                    body += piece
                    if len(body) > ANSWER_LIMIT:
                        break
            if response.status != 200 or len(body) > ANSWER_LIMIT:
                raise _UnusableError(_ANSWER_FAILED)
        return parse_object(bytes(body))


def _reason(error: Exception) -> str:
    if isinstance(error, ManifestInvalid):  # it speaks of manifests
        return _ANSWER_FAILED
    return "no answer in time" if isinstance(error, TimeoutError) else str(error)


def _is_fresh(row: IssuerRow | None) -> bool:
    return row is not None and row.age is not None and 0 <= row.age < FRESH


def _is_being_asked(row: IssuerRow | None) -> bool:
    """Whether a fetch may still run, in this process or another one."""
    return row is not None and not row.has_answered and row.tried < FETCH_SECONDS * 1000


def _may_lead_to(issuer: str, address: str) -> bool:
    """Only an issuer on this machine, in tests, leads to plain HTTP on it."""
    return is_secure(address) and (address.startswith("https://") or issuer.startswith("http://"))


def _of_id(row: IssuerRow | None, kid: str) -> KeySet | None:
    if row is None:
        return None
    found = [import_key(key) for key in json.loads(row.keys)["keys"] if key["kid"] == kid]
    return KeySet(found) if found else None


def _usable(answer: JsonObject) -> Iterator[dict[str, Json]]:
    keys = answer.get("keys")
    for key in keys if isinstance(keys, list) else ():
        if isinstance(key, dict) and _is_trusted(key):
            yield {name: key[name] for name in _MEMBERS if name in key}


def _is_trusted(key: JsonObject) -> bool:
    """Whether it is a public key for signatures, of a kind and size that only its owner signs with."""
    members = {name: key[name] for name in _MEMBERS if name in key}
    texts = {name: value for name, value in members.items() if isinstance(value, str)}
    operations = key.get("key_ops", ["verify"])
    if len(texts) != len(members) or not texts.get("kid") or texts.get("use", "sig") != "sig":
        return False
    if Kind(texts.get("kty", ""), texts.get("crv")) not in _KINDS:
        return False
    if not isinstance(operations, list) or "verify" not in operations:
        return False
    try:
        # the library only warns of a short one
        if "n" in texts and base64_to_int(texts["n"]).bit_length() not in RSA_BITS:
            return False
        import_key(dict(texts))
    except (JoseError, ValueError):
        return False
    return True
