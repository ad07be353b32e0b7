"""The audit log, and why somebody may do something."""

from typing import Any

from msgspec import UNSET, Struct, UnsetType, field

from registry.admin.answers import SHOWN, Limit, Listed, RowId, listed
from registry.admin.grants import HeldGrant, Verb, shown
from registry.admin.inputs import Input, Time, moment
from registry.admin.operation import Call
from registry.domain.audit import EventFilter
from registry.domain.names import RepositoryName
from registry.domain.paging import PageRequest


class AuditEvent(Struct, frozen=True, kw_only=True):
    id: int
    at: Time
    identity: str
    action: str
    repository_id: int | None
    repository: str | None
    tag: str | None
    old_digest: str | None
    new_digest: str | None
    request_id: str | None
    details: Any
    address: str | None
    credential: str | None


class AuditQuery(Input, frozen=True, kw_only=True):
    """An `action` like tag.* is a prefix; `since` <= at < `until`."""

    limit: Limit = SHOWN
    after: RowId = 0
    identity: str | UnsetType = UNSET
    repository: str | UnsetType = UNSET
    action: str | UnsetType = UNSET
    since: Time | UnsetType = UNSET
    until: Time | UnsetType = UNSET


class ExplainQuery(Input, frozen=True, kw_only=True):
    """`as`: user:NAME, robot:NAME, ci:NAME or anonymous; `on`: a repository."""

    subject: str = field(name="as")
    on: str


class VerbReason(Struct, frozen=True, kw_only=True):
    """`grants` are those that give the verb. `missing_in_creator`: a robot has it, but its creator has not."""

    verb: Verb
    allowed: bool
    grants: list[HeldGrant]
    missing_in_creator: bool


class Explanation(Struct, frozen=True, kw_only=True):
    subject: str
    repository: str
    verbs: list[VerbReason]


async def list_events(call: Call, query: AuditQuery) -> Listed[AuditEvent]:
    """What was done, newest first."""
    wanted = EventFilter(
        identity=query.identity or None,
        repository=query.repository or None,
        action=query.action or None,
        since=moment("since", query.since),
        until=moment("until", query.until),
    )
    page = await call.registry.access.audit.list(wanted, PageRequest(query.limit, str(query.after or "")))
    return listed(page, lambda event: AuditEvent(**event.told()))


async def explain_access(call: Call, query: ExplainQuery) -> Explanation:
    """Why somebody may or may not do something to a repository: the grants behind each verb."""
    repository = RepositoryName.parse(query.on)
    reasons = await call.registry.access.explain.why(query.subject, repository)
    verbs = [
        VerbReason(
            verb=reason.verb.value,
            allowed=reason.allowed,
            grants=[shown(grant) for grant in reason.grants],
            missing_in_creator=reason.missing_in_creator,
        )
        for reason in reasons
    ]
    return Explanation(subject=query.subject, repository=query.on, verbs=verbs)
