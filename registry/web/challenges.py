"""Challenges: the one WWW-Authenticate header that tells a client how to come in.

One header, and no `error`: the conformance suite reads only the first, and containerd takes a repeated `error` for
the end (spec page, section 7.1).
"""

from registry.assembly import Registry
from registry.domain.access import Peer
from registry.domain.errors import Denied, RegistryError, Unauthorized

TOKEN_PATH = "/auth/token"  # noqa: S105 - a path


def challenged(registry: Registry, error: Unauthorized, peer: Peer, scopes: str) -> RegistryError:
    """The refusal with the way in: a token for the scopes, or a password where no address of ours is known."""
    http, auth = registry.settings.http, registry.settings.auth
    if http.host:
        text = f'Bearer realm="{http.host}{TOKEN_PATH}",service="{registry.service}"'
        error.headers = {"WWW-Authenticate": f'{text},scope="{scopes}"' if scopes else text}
    elif registry.access.logins.may_come_from(peer):
        error.headers = {"WWW-Authenticate": f'Basic realm="{auth.htpasswd.realm}"'}
    else:
        return Denied("logging in needs https here, since passwords are not taken over plain HTTP (auth.plainhttp)")
    return error
