"""`digestry robot add|rotate|revoke|disable|enable|remove|list|show`."""

import json
import sys
from typing import Annotated, Any, TypeAlias

from cyclopts import Parameter

from registry.access.logins import ROBOT_USER
from registry.access.robots import OVERLAP, SECRET_LIFETIME, Made
from registry.assembly import Registry
from registry.cli.acting import DURATION, OPERATING, Duration, client_address, every, say, told_time
from registry.cli.opening import run_on
from registry.cli.options import AsJson, ConfigFile, Flags
from registry.cli.tables import print_table
from registry.domain.secret_text import ROBOT_PREFIX, secret_id_of
from registry.domain.times import rfc3339
from registry.metadata.robots import Robot, Secret
from registry.values import written_duration

USUAL_LIFETIME, USUAL_OVERLAP = Duration(SECRET_LIFETIME), Duration(OVERLAP)

_HEAD = ["name", "state", "last used", "expires", "made by", "about"]

Name: TypeAlias = Annotated[str, Parameter(help="The robot's name, such as build.")]
SecretId: TypeAlias = Annotated[
    str, Parameter(help="As `robot show` has it: the part of the secret between its first two `_`.")
]
About: TypeAlias = Annotated[str, Parameter(name="--about", help="What it is for.")]
Expires: TypeAlias = Annotated[
    Duration, DURATION, Parameter(name="--expires", help="How long the secret is good, such as 90d.")
]
Overlap: TypeAlias = Annotated[
    Duration, DURATION, Parameter(name="--overlap", help="How long the secrets before it stay good, such as 24h.")
]


def add(
    name: Name,
    /,
    *,
    about: About = "",
    expires: Expires = USUAL_LIFETIME,
    config: ConfigFile = None,
    flags: Flags = (),
    as_json: AsJson = False,
) -> int:
    """Make a robot, which may do nothing until granted, and show its secret once."""

    async def make(registry: Registry) -> None:
        made = await registry.access.robots.add(name, about, expires, OPERATING)
        _show_secret(registry, name, made, expires, as_json=as_json)
        if not as_json:
            print(f"what it may do: digestry grant add robot:{name} 'team/**' pull,push", file=sys.stderr)

    return run_on(config, flags, make, as_json=as_json)


def rotate(
    name: Name,
    /,
    *,
    expires: Expires = USUAL_LIFETIME,
    overlap: Overlap = USUAL_OVERLAP,
    config: ConfigFile = None,
    flags: Flags = (),
    as_json: AsJson = False,
) -> int:
    """Show a new secret once; those before end soon."""

    async def change(registry: Registry) -> None:
        made = await registry.access.robots.rotate(name, expires, overlap, OPERATING)
        _show_secret(registry, name, made, expires, as_json=as_json)
        if not as_json:
            print(f"the secrets before it end within {written_duration(overlap)}", file=sys.stderr)

    return run_on(config, flags, change, as_json=as_json)


def revoke(
    name: Name, secret_id: SecretId, /, *, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False
) -> int:
    """End one secret at once."""

    async def end(registry: Registry) -> None:
        # Whoever has a leaked secret at hand need not cut it
        found = secret_id_of(ROBOT_PREFIX, secret_id) or secret_id
        await registry.access.robots.revoke(name, found, OPERATING)
        say(f"the secret {found} of {name} is good no more", {"name": name, "id": found}, as_json=as_json)

    return run_on(config, flags, end, as_json=as_json)


def disable(name: Name, /, *, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Keep a robot out."""

    async def change(registry: Registry) -> None:
        await registry.access.robots.set_disabled(name, OPERATING, disabled=True)
        say(f"{name} is kept out", {"name": name, "disabled": True}, as_json=as_json)

    return run_on(config, flags, change, as_json=as_json)


def enable(name: Name, /, *, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Let a robot in again."""

    async def change(registry: Registry) -> None:
        await registry.access.robots.set_disabled(name, OPERATING, disabled=False)
        say(
            f"{name} is let in again, with secrets that have not expired",
            {"name": name, "disabled": False},
            as_json=as_json,
        )

    return run_on(config, flags, change, as_json=as_json)


def remove(name: Name, /, *, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Remove a robot, with its secrets and grants."""

    async def delete(registry: Registry) -> None:
        await registry.access.robots.delete(name, OPERATING)
        say(f"removed the robot {name}, with its secrets and grants", {"name": name}, as_json=as_json)

    return run_on(config, flags, delete, as_json=as_json)


def list_robots(*, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Robots by name: when each was last used, and when its next secret expires."""

    async def show(registry: Registry) -> None:
        robots = registry.access.robots
        found = [await _told(registry, robot) for robot in await every(robots.list)]
        if as_json:
            print(json.dumps(found, indent=2))
        else:
            print_table(_HEAD, [_row(robot) for robot in found])

    return run_on(config, flags, show, as_json=as_json)


def show(name: Name, /, *, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """A robot and what is known of its secrets."""

    async def tell(registry: Registry) -> None:
        robot = await registry.access.robots.get(name)
        told = await _told(registry, robot)
        secrets = [_told_secret(secret) for secret in await registry.access.robots.secrets_of(robot)]
        if as_json:
            print(json.dumps({**told, "secrets": secrets}, indent=2))
            return
        print_table(_HEAD, [_row(told)])
        print()
        print_table(["secret", "made", "expires", "", "last used"], [_row_of_secret(secret) for secret in secrets])

    return run_on(config, flags, tell, as_json=as_json)


def _show_secret(registry: Registry, name: str, made: Made, lifetime: Duration, *, as_json: bool) -> None:
    """The secret alone on stdout, so that a shell can take it; what people need beside it on stderr."""
    user = f"{ROBOT_USER}{name}"
    if as_json:
        print(json.dumps({"name": name, "id": made.id, "user": user, "secret": made.secret}, indent=2))
        return
    print(f"the secret of {name}, shown only now, good for {written_duration(lifetime)}:", file=sys.stderr)
    print(made.secret, flush=True)
    login = f"docker login -u '{user}' --password-stdin {client_address(registry.settings)}"
    print(f"log in with it: {login}", file=sys.stderr)


async def _told(registry: Registry, robot: Robot) -> dict[str, Any]:
    secrets = await registry.access.robots.secrets_of(robot)
    is_let_in = await registry.access.authenticator.named(f"robot:{robot.name}") is not None
    used = [secret.last_used_at for secret in secrets if secret.last_used_at is not None]
    good = [secret.expires_at for secret in secrets if not secret.has_expired]
    return {
        "name": robot.name,
        "about": robot.about,
        "disabled": robot.is_disabled,
        # Whoever made it is gone, or kept out
        "orphaned": not robot.is_disabled and not is_let_in,
        "created_at": rfc3339(robot.created_at),
        "created_by": robot.created_by,
        "last_used_at": told_time(max(used, default=None)),
        "expires_at": told_time(min(good, default=None)),
    }


def _row(robot: dict[str, Any]) -> list[str]:
    return [
        robot["name"],
        "disabled" if robot["disabled"] else "its maker is kept out" if robot["orphaned"] else "",
        robot["last_used_at"] or "never",
        robot["expires_at"] or "has no good secret",
        robot["created_by"],
        robot["about"],
    ]


def _told_secret(secret: Secret) -> dict[str, Any]:
    return {
        "id": secret.id,
        "created_at": rfc3339(secret.created_at),
        "expires_at": rfc3339(secret.expires_at),
        "expired": secret.has_expired,
        "last_used_at": told_time(secret.last_used_at),
    }


def _row_of_secret(secret: dict[str, Any]) -> list[str]:
    return [
        secret["id"],
        secret["created_at"],
        secret["expires_at"],
        "expired" if secret["expired"] else "",
        secret["last_used_at"] or "never",
    ]
