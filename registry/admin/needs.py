"""What operations need of a caller. `Policy` decides each time: 401 for strangers, 403 for all others."""

from registry.admin.operation import Call, Need
from registry.domain.access import Action
from registry.domain.errors import Denied, Unauthorized
from registry.domain.grants import ALL, Pattern
from registry.domain.names import RepositoryName
from registry.domain.paging import row_id
from registry.domain.problems import Missing


async def _nothing(call: Call) -> None:
    pass


async def _known(call: Call) -> None:
    refusal = call.refusal()
    if isinstance(refusal, Unauthorized):
        raise refusal


async def _user(call: Call) -> None:
    await _known(call)
    if not call.identity.credential.startswith("user."):
        raise Denied("this takes a user of the database: robots, CI jobs and the htpasswd file have no password here")


async def _administrator(call: Call) -> None:
    _check(call, ALL)


async def _some_administrator(call: Call) -> None:
    await _known(call)
    if all(call.refusal(grant.pattern) for grant in call.identity.rights.grants):
        raise Denied("this takes a person with the verb admin on some pattern")


async def _on_given_pattern(call: Call) -> None:
    await _some_administrator(call)
    _check(call, Pattern.parse((await call.body()).pattern))


async def _on_pattern_of_grant(call: Call) -> None:
    await _known(call)
    try:
        grant = await call.registry.access.grants.get(grant_id(call.path["grant_id"]))
    except Missing:  # only whoever may see all grants learns that it is none
        _check(call, ALL)
    else:
        _check(call, grant.pattern)


async def _creator(call: Call) -> None:
    await _known(call)
    if call.refusal() is not None and not await _has_made(call, call.path["name"]):
        raise Denied("this takes whoever made the robot, or a person with the verb admin on **")


async def _reader(call: Call) -> None:
    refusal = call.registry.policy.browse(call.identity)
    if refusal is not None:
        raise refusal


def on_repository(action: Action) -> Need:
    """The verb on the repository in the path."""

    async def check(call: Call) -> None:
        refusal = call.registry.policy.decide(call.identity, action, call.repository)
        if refusal is not None:
            raise refusal

    return Need(f"the verb {action} on the repository", check)


def on_repository_of_entry(action: Action) -> Need:
    """The verb on the repository of the entry in the path; only whoever has it on all learns that there is none."""

    async def check(call: Call) -> None:
        await _known(call)
        refused = Denied(f"this takes the verb {action} on the repository of the entry")
        refused.action = action
        try:
            entry = await call.registry.trash.get(entry_id(call.path["entry_id"]))
        except Missing:
            if call.identity.rights.allow_pattern(action, ALL):
                raise
            raise refused from None
        refusal = call.registry.policy.decide(call.identity, action, entry.repository)
        if refusal is not None:
            raise refused if isinstance(refusal, Denied) else refusal

    return Need(f"the verb {action} on the repository of the entry", check)


async def _on_tags_in_body(call: Call) -> None:
    await _known(call)
    for tag in (await call.body()).tags:
        repository = RepositoryName.parse(tag.repository)
        may_not = call.registry.policy.decide(call.identity, Action.PUSH, repository)
        if may_not is not None and call.registry.policy.decide(call.identity, Action.OVERWRITE, repository) is not None:
            raise may_not


async def _has_made(call: Call, name: str) -> bool:
    """By the user's id: a name may be another's by now."""
    try:
        robot = await call.registry.access.robots.get(name)
    except Missing:
        return False
    return robot.creator_id is not None and call.identity.credential.startswith(f"user.{robot.creator_id}.")


def _check(call: Call, pattern: Pattern) -> None:
    refusal = call.refusal(pattern)
    if refusal is not None:
        raise refusal


def grant_id(text: str) -> int:
    """Raise Missing for what is no id."""
    return _row_id("a grant", text)


def entry_id(text: str) -> int:
    """Raise Missing for what is no id."""
    return _row_id("an entry", text)


def _row_id(what: str, text: str) -> int:
    found = row_id(text)
    if found is None:
        raise Missing(f"the id of {what} is a number")
    return found


NOTHING = Need("nothing, not even a login", _nothing)
READER = Need("a login, unless anybody may pull something", _reader)
KNOWN = Need("a login", _known)
USER = Need("a login as a user of the database", _user)
ADMINISTRATOR = Need("a person with admin on **", _administrator)
SOME_ADMINISTRATOR = Need("a person with admin on some pattern", _some_administrator)
ON_GIVEN_PATTERN = Need("a person with admin on the pattern in the body", _on_given_pattern)
ON_PATTERN_OF_GRANT = Need("a person with admin on the grant's pattern", _on_pattern_of_grant)
ON_TAGS_IN_BODY = Need("overwrite for tags that there are, push for others, on their repositories", _on_tags_in_body)
CREATOR = Need("whoever made the robot, or a person with admin on **", _creator)
