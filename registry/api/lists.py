"""Lists: tags (end-8), referrers (end-12) and the catalog."""

import msgspec
from aiohttp import web

from registry.api.call import Call, json_body
from registry.api.locations import next_page
from registry.content.referrers import index_of
from registry.domain.media_types import OCI_INDEX
from registry.domain.paging import Page, PageRequest


async def tags(call: Call) -> web.StreamResponse:
    """end-8a and 8b."""
    page = _page(call)
    found = await call.registry.tags.list(call.repository, page)
    body = msgspec.json.encode({"name": str(call.repository), "tags": found.entries})
    return json_body(body, _link(call, f"{call.repository}/tags/list", page, found))


async def catalog(call: Call) -> web.StreamResponse:
    """`_catalog`: not in the spec, asked for by every tool."""
    page = _page(call)
    found = await call.registry.catalog.list(page, call.caller.identity.rights)
    return json_body(msgspec.json.encode({"repositories": found.entries}), _link(call, "_catalog", page, found))


async def referrers(call: Call) -> web.StreamResponse:
    """end-12a and 12b: an index, also for what nobody knows; 404 would mean that the API is missing."""
    types = [wanted for wanted in call.all("artifactType") if wanted]
    found = await call.registry.referrers.list(call.repository, call.digest, types, call.one("last") or "")
    headers = {"Content-Type": OCI_INDEX}
    if types:
        headers["OCI-Filters-Applied"] = "artifactType"
    if found.next_last is not None:
        query = {"artifactType": types, "last": found.next_last}
        headers |= next_page(call, f"{call.repository}/referrers/{call.digest}", query)
    return web.Response(body=index_of(found.entries), headers=headers)


def _page(call: Call) -> PageRequest:
    return PageRequest.parse(call.all("n"), call.one("last") or "")


def _link(call: Call, path: str, page: PageRequest, found: Page[str]) -> dict[str, str]:
    if found.next_last is None:
        return {}
    return next_page(call, path, {"n": page.limit, "last": found.next_last})
