"""Rules for CI."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from registry.admin.answers import Listed, PageQuery, listed
from registry.admin.inputs import Duration, Input, Name, Time, milliseconds
from registry.admin.operation import Call
from registry.domain.ci import CLAIMS_LIMIT, PROVIDERS, TEXT_LIMIT, VALUES_LIMIT, Rule, parse_rule
from registry.domain.times import rfc3339
from registry.values import written_duration

Provider = Annotated[str, Meta(extra_json_schema={"enum": list(PROVIDERS)})]
Text = Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": TEXT_LIMIT})]
Values = Annotated[list[Text], Meta(extra_json_schema={"minItems": 1, "maxItems": VALUES_LIMIT})]
Claims = Annotated[
    dict[str, Values],
    Meta(
        description="the values that each claim may have, exact or with one * at the end; one is an immutable id",
        examples=[{"repository_id": ["123456"], "ref": ["refs/heads/main"]}],
        extra_json_schema={"minProperties": 1, "maxProperties": CLAIMS_LIMIT},
    ),
]


class CiRule(Struct, frozen=True, kw_only=True):
    name: str
    provider: Provider
    issuer: str
    audience: str
    claims: dict[str, list[str]]
    lifetime: str
    reuse: str | None
    created_by: str
    created_at: Time


class NewRule(Input, frozen=True, kw_only=True):
    """Without an issuer it is the provider's own. `reuse`: for how long a token may be used again, from one address."""

    name: Name
    provider: Provider
    audience: Text
    claims: Claims
    issuer: Text | UnsetType = UNSET
    lifetime: Duration = "15m"
    reuse: Duration | None = None


async def list_rules(call: Call, query: PageQuery) -> Listed[CiRule]:
    """Rules for CI, by name."""
    return listed(await call.registry.access.rules.list(query.page), _shown)


async def add_rule(call: Call, body: NewRule) -> CiRule:
    """Make a rule: which jobs log in as ci:NAME, which may do nothing until granted."""
    rule = parse_rule(
        body.name,
        body.provider,
        body.audience,
        body.claims,
        created_by=call.identity.name,
        issuer="" if body.issuer is UNSET else body.issuer,
        lifetime=milliseconds("lifetime", body.lifetime),
        reuse=0 if body.reuse is None else milliseconds("reuse", body.reuse),
    )
    await call.registry.access.rules.add(rule, call.caller)
    return await get_rule(call, rule.name)


async def get_rule(call: Call, name: str) -> CiRule:
    """A rule for CI."""
    return _shown(await call.registry.access.rules.get(name))


async def delete_rule(call: Call, name: str) -> None:
    """Delete a rule, with its grants; its jobs are logged out."""
    await call.registry.access.rules.delete(name, call.caller)


def _shown(rule: Rule) -> CiRule:
    return CiRule(
        name=rule.name,
        provider=rule.provider,
        issuer=rule.issuer,
        audience=rule.audience,
        claims={claim: list(values) for claim, values in rule.claims.items()},
        lifetime=written_duration(rule.lifetime),
        reuse=written_duration(rule.reuse) if rule.reuse else None,
        created_by=rule.created_by,
        created_at=rfc3339(rule.created_at),
    )
