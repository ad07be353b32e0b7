"""Whoever asks."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from registry.admin.grants import HeldGrant, shown
from registry.admin.inputs import Input, Password
from registry.admin.operation import Call
from registry.domain.errors import Denied, Unauthorized

Credential = Literal["password", "htpasswd", "robot secret", "CI job", "none"]
_CREDENTIALS: dict[str, Credential] = {
    "user": "password",
    "file": "htpasswd",
    "robot": "robot secret",
    "ci": "CI job",
}


class Me(Struct, frozen=True, kw_only=True):
    """`credential`: what the login goes back to; `token`: whether it was by a bearer token."""

    identity: str
    credential: Credential
    token: bool
    grants: list[HeldGrant]


class PasswordChange(Input, frozen=True, kw_only=True):
    current: Annotated[str, Meta(max_length=1024)]
    new: Password


async def get_me(call: Call) -> Me:
    """Who the registry takes you for, and what you hold. A robot may besides do no more than its creator."""
    identity = call.identity
    return Me(
        identity=identity.name,
        credential=_CREDENTIALS.get(identity.credential.partition(".")[0], "none"),
        token=call.is_by_token,
        grants=[shown(grant) for grant in identity.rights.grants],
    )


async def set_my_password(call: Call, body: PasswordChange) -> None:
    """Change your own password; logins by the old one end. Wrong tries count as failed logins."""
    access, name = call.registry.access, call.identity.name.removeprefix("user:")
    try:
        await access.logins.by_password(name, body.current, call.peer)
    except Unauthorized as error:  # who asks is known: to log in again would not help
        raise Denied("the current password is wrong") from error
    await access.users.set_password(name, body.new, call.caller)
