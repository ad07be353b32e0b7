"""Robots."""

from typing import Annotated

from msgspec import Meta, Struct, field

from registry.access.logins import ROBOT_USER
from registry.access.robots import Made
from registry.admin.answers import Listed, PageQuery, listed, told
from registry.admin.inputs import Duration, Input, Name, Time, milliseconds
from registry.admin.operation import Call
from registry.domain.paging import Page


class Robot(Struct, frozen=True, kw_only=True):
    name: str
    about: str
    is_disabled: bool = field(name="disabled")
    created_at: Time
    created_by: str


class Secret(Struct, frozen=True, kw_only=True):
    """Of a secret that was handed out, all but itself."""

    id: str
    created_at: Time
    expires_at: Time
    has_expired: bool = field(name="expired")
    last_used_at: Time | None


class RobotDetail(Robot, frozen=True, kw_only=True):
    secrets: list[Secret]


class NewRobot(Input, frozen=True, kw_only=True):
    name: Name
    about: Annotated[str, Meta(max_length=255)] = ""
    lifetime: Duration = "90d"


class RobotChange(Input, frozen=True, kw_only=True):
    disabled: bool


class NewSecret(Input, frozen=True, kw_only=True):
    """The secrets before end within `overlap`."""

    lifetime: Duration = "90d"
    overlap: Duration = "1d"


class MadeSecret(Struct, frozen=True, kw_only=True):
    """What the robot logs in with. The secret is shown here and never again."""

    name: str
    id: str
    user: str
    secret: str


async def list_robots(call: Call, query: PageQuery) -> Listed[Robot]:
    """Robots, by name; for those without admin on ** the ones that they made."""
    robots = call.registry.access.robots
    if call.refusal() is None:
        page = await robots.list(query.page)
    elif call.identity.credential.startswith("user."):
        page = await robots.list(query.page, call.identity)
    else:
        page = Page([])
    return listed(page, lambda robot: told(Robot, robot))


async def add_robot(call: Call, body: NewRobot) -> MadeSecret:
    """Make a robot, which may do nothing until granted, and never more than its maker."""
    lifetime = milliseconds("lifetime", body.lifetime)
    made = await call.registry.access.robots.add(body.name, body.about, lifetime, call.caller)
    return _shown(body.name, made)


async def get_robot(call: Call, name: str) -> RobotDetail:
    """A robot, with what is known of its secrets."""
    robots = call.registry.access.robots
    robot = await robots.get(name)
    secrets = [told(Secret, secret) for secret in await robots.secrets_of(robot)]
    return told(RobotDetail, robot, secrets=secrets)


async def change_robot(call: Call, name: str, body: RobotChange) -> RobotDetail:
    """Disable a robot, or let it in again, which takes admin on **: another may have kept it out."""
    if not body.disabled and (refusal := call.refusal()) is not None:
        raise refusal
    await call.registry.access.robots.set_disabled(name, call.caller, disabled=body.disabled)
    return await get_robot(call, name)


async def delete_robot(call: Call, name: str) -> None:
    """Delete a robot, with its secrets and grants."""
    await call.registry.access.robots.delete(name, call.caller)


async def add_secret(call: Call, name: str, body: NewSecret) -> MadeSecret:
    """Give a robot one more secret."""
    lifetime, overlap = milliseconds("lifetime", body.lifetime), milliseconds("overlap", body.overlap)
    return _shown(name, await call.registry.access.robots.rotate(name, lifetime, overlap, call.caller))


async def revoke_secret(call: Call, name: str, secret_id: str) -> None:
    """End one secret of a robot at once."""
    await call.registry.access.robots.revoke(name, secret_id, call.caller)


def _shown(name: str, made: Made) -> MadeSecret:
    return MadeSecret(name=name, id=made.id, user=f"{ROBOT_USER}{name}", secret=made.secret)
