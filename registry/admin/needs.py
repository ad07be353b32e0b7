"""What operations need of a caller. `Policy` decides each time: 401 for strangers, 403 for all others."""

from registry.admin.operation import Call, Need
from registry.domain.access import Action
from registry.domain.errors import Denied, Unauthorized
from registry.domain.grants import ALL, Pattern
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
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Missing("the id of a grant is a number")
    return int(text)


NOTHING = Need("nothing, not even a login", _nothing)
READER = Need("a login, unless anybody may pull something", _reader)
KNOWN = Need("a login", _known)
USER = Need("a login as a user of the database", _user)
ADMINISTRATOR = Need("a person with admin on **", _administrator)
SOME_ADMINISTRATOR = Need("a person with admin on some pattern", _some_administrator)
ON_GIVEN_PATTERN = Need("a person with admin on the pattern in the body", _on_given_pattern)
ON_PATTERN_OF_GRANT = Need("a person with admin on the grant's pattern", _on_pattern_of_grant)
CREATOR = Need("whoever made the robot, or a person with admin on **", _creator)
