"""Grants."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from registry.admin.answers import SHOWN, Limit, Listed, RowId, listed
from registry.admin.inputs import Input
from registry.admin.needs import grant_id as parse_id
from registry.admin.operation import Call
from registry.domain.action import VERBS
from registry.domain.grants import Grant, Pattern, parse_subject, parse_verbs
from registry.domain.names import NAME_LIMIT
from registry.domain.paging import PAGE_LIMIT, PageRequest

Verb = Annotated[str, Meta(extra_json_schema={"enum": [verb.value for verb in VERBS]})]
Subject = Annotated[
    str,
    Meta(
        description="user:NAME, group:NAME, robot:NAME, ci:NAME, authenticated or anonymous",
        examples=["group:devs"],
        extra_json_schema={"pattern": "^(?:(?:user|group|robot|ci):[A-Za-z0-9._@+-]+|authenticated|anonymous)$"},
    ),
]
PatternText = Annotated[
    str,
    Meta(
        description="a repository's name; its last component may be * (one more) or ** (any more)",
        examples=["team/**"],
        extra_json_schema={"maxLength": NAME_LIMIT, "pattern": r"^(?:[a-z0-9._-]+/)*(?:[a-z0-9._-]+|\*\*?)$"},
    ),
]


class HeldGrant(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Without an `id` it stands in no table, and `source` says what gives it."""

    subject: str
    pattern: str
    verbs: list[Verb]
    id: int = 0
    source: str = ""


class NewGrant(Input, frozen=True, kw_only=True):
    subject: Subject
    pattern: PatternText
    verbs: Annotated[list[Verb], Meta(extra_json_schema={"minItems": 1})]


class GrantQuery(Input, frozen=True, kw_only=True):
    limit: Limit = SHOWN
    after: RowId = 0
    subject: Subject | UnsetType = UNSET


async def list_grants(call: Call, query: GrantQuery) -> Listed[HeldGrant]:
    """Grants, oldest first; for those without admin on ** the ones on patterns that they administer."""
    subject = None if query.subject is UNSET else parse_subject(query.subject)
    found: list[Grant] = []
    after = query.after
    while len(found) <= query.limit:
        batch = await call.registry.access.grants.list(subject, after, PAGE_LIMIT)
        found += [grant for grant in batch if call.refusal(grant.pattern) is None]
        if len(batch) < PAGE_LIMIT:
            break
        after = batch[-1].id
    return listed(PageRequest(query.limit).cut_by(found, lambda grant: str(grant.id)), shown)


async def add_grant(call: Call, body: NewGrant) -> HeldGrant:
    """Give verbs on a pattern, beside those that the subject has there."""
    wanted = Grant(parse_subject(body.subject), Pattern.parse(body.pattern), parse_verbs(body.verbs))
    return shown(await call.registry.access.grants.add(wanted, call.caller))


async def get_grant(call: Call, grant_id: str) -> HeldGrant:
    """A grant."""
    return shown(await call.registry.access.grants.get(parse_id(grant_id)))


async def remove_grant(call: Call, grant_id: str) -> None:
    """Take a grant back; within seconds nobody has it."""
    await call.registry.access.grants.remove(parse_id(grant_id), call.caller)


def shown(grant: Grant) -> HeldGrant:
    return HeldGrant(
        subject=grant.subject,
        pattern=grant.pattern.text,
        verbs=[verb.value for verb in VERBS if verb in grant.verbs],
        id=grant.id,
        source=grant.source,
    )
