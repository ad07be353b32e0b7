"""What is answered: shapes of our own, so that no column reaches the wire unnamed."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from registry.admin.inputs import JSON, Input
from registry.domain.errors import RegistryError
from registry.domain.paging import PAGE_LIMIT, Page, PageRequest
from registry.domain.problems import Problem
from registry.domain.times import rfc3339
from registry.web.requests import request_id

PROBLEM_JSON = "application/problem+json"
SHOWN = 100

Limit = Annotated[int, Meta(ge=1, le=PAGE_LIMIT, description="at most so many")]
RowId = Annotated[int, Meta(ge=0, le=2**63 - 1)]

T = TypeVar("T")
Told = TypeVar("Told", bound=Struct)


class PageQuery(Input, frozen=True, kw_only=True):
    """A page of a long list: `next` of the page before is the next one's `after`."""

    limit: Limit = SHOWN
    after: str = ""

    @property
    def page(self) -> PageRequest:
        return PageRequest(self.limit, self.after)


class Listed(Struct, Generic[Told], frozen=True):
    """A page. Without `next` it is the last one."""

    items: list[Told]
    next: str | UnsetType = UNSET


class ProblemDetails(Struct, frozen=True):
    """RFC 9457. `detail` says what to do next, `request_id` leads to the log."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str


def listed(page: Page[T], tell: Callable[[T], Told]) -> Listed[Told]:
    return Listed([tell(entry) for entry in page.entries], UNSET if page.next_last is None else page.next_last)


def told(shape: type[Told], entry: object, **more: Any) -> Told:
    """What the shape has fields for, from the attributes of those names; times as people read them."""
    found = {name: _plain(name, getattr(entry, name)) for name in shape.__struct_fields__ if hasattr(entry, name)}
    return shape(**found | more)


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return str(value)  # msgspec takes no text of a narrower type
    is_time = name in {"at", "since", "until"} or name.endswith("_at")
    return rfc3339(value) if is_time and value is not None else value


def problem_response(request: web.Request, error: Problem | RegistryError) -> web.Response:
    """The answer that tells this refusal."""
    detail, headers = (error.detail, {}) if isinstance(error, Problem) else (error.message, error.headers)
    told = ProblemDetails(
        type="about:blank",
        title=HTTPStatus(error.status).phrase,
        status=error.status,
        detail=detail,
        request_id=request_id(request),
    )
    return _response(told, error.status, {**headers, "Content-Type": PROBLEM_JSON})


def json_response(answer: Any, status: int, headers: dict[str, str]) -> web.Response:
    return _response(answer, status, {**headers, "Content-Type": JSON})


def _response(answer: Any, status: int, headers: dict[str, str]) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(answer), headers={**headers, "Cache-Control": "no-store"}
    )
