"""What each page shows, once it is known who asks."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlencode, urlsplit

from aiohttp import web

from registry.assembly import Registry
from registry.domain.access import Action, Caller
from registry.domain.errors import Denied, RegistryError, Unauthorized
from registry.domain.names import RepositoryName
from registry.domain.paging import PageRequest
from registry.domain.problems import Missing

REPOSITORIES_SHOWN = 50
TAGS_SHOWN = 100
LOG_IN = "log in with your user name and password to see what you may pull"
_HOST = re.compile(r"(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Visit:
    """A request for a page, and who asks."""

    registry: Registry
    request: web.Request
    caller: Caller

    @property
    def after(self) -> str:
        """Where the page starts in its list."""
        return self.request.query.get("after", "")

    def shown(self, template: str, **values: Any) -> "Shown":
        """With what all pages need."""
        _, _, name = self.caller.identity.name.partition(":")
        may_log_in = not self.caller.identity.is_known
        return Shown(template, {"user": name, "may_log_in": may_log_in, "host": self._host(), **values})

    def following(self, next_last: str | None, **query: str) -> str | None:
        """The address of the next page of a list."""
        if next_last is None:
            return None
        return f"{self.request.path}?{urlencode({**query, 'after': next_last})}"

    def _host(self) -> str:
        """What clients write before a repository's name. The Host header is anybody's text, so it may be none."""
        configured = urlsplit(self.registry.settings.http.host).netloc
        given = self.request.headers.get("Host", "")
        return configured or (given if _HOST.fullmatch(given) else "REGISTRY")


@dataclass(frozen=True, slots=True)
class Shown:
    template: str
    values: dict[str, Any]


View: TypeAlias = Callable[[Visit], Awaitable[Shown]]


async def home(visit: Visit) -> Shown:
    """The repositories that the visitor may pull."""
    if "login" in visit.request.query:
        _log_in(visit)
    overview, identity = visit.registry.overview, visit.caller.identity
    refusal = visit.registry.policy.browse(identity)
    if refusal is not None:
        raise _for_people(refusal)
    part = visit.request.query.get("q", "").strip()
    page = await overview.repositories(PageRequest(REPOSITORIES_SHOWN, visit.after), identity.rights, part)
    return visit.shown(
        "repositories.html",
        repositories=page.entries,
        part=part,
        now=await overview.time(),
        is_first=not visit.after,
        following=visit.following(page.next_last, **({"q": part} if part else {})),
    )


async def repository(visit: Visit) -> Shown:
    """The tags of a repository."""
    name = visit.request.match_info["name"]
    if not RepositoryName.is_valid(name):
        raise Missing("no repository can have this name")
    name = RepositoryName(name)
    refusal = visit.registry.policy.decide(visit.caller.identity, Action.PULL, name)
    if isinstance(refusal, Denied):
        await visit.registry.access.denials.record(visit.caller, name, Action.PULL)
    if refusal is not None:
        raise _for_people(refusal)
    overview = visit.registry.overview
    page = await overview.tags(name, PageRequest(TAGS_SHOWN, visit.after))
    return visit.shown(
        "tags.html",
        repository=await overview.repository(name),
        tags=page.entries,
        now=await overview.time(),
        is_first=not visit.after,
        following=visit.following(page.next_last),
    )


async def nothing(visit: Visit) -> Shown:
    raise Missing("there is no such page")


def _log_in(visit: Visit) -> None:
    """Asked here and not under /ui/, so that a browser sends what it is told to all pages (RFC 7617 section 2.2)."""
    if not visit.caller.identity.is_known:
        raise Unauthorized(LOG_IN)
    raise web.HTTPSeeOther("/", headers={"Cache-Control": "no-store"})


def _for_people(refusal: RegistryError) -> RegistryError:
    """Tokens and scopes are no way for a browser."""
    return Unauthorized(LOG_IN) if isinstance(refusal, Unauthorized) else refusal
