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
    host = registry.settings.http.host
    if host:
        text = f'Bearer realm="{host}{TOKEN_PATH}",service="{registry.service}"'
        error.headers = {"WWW-Authenticate": f'{text},scope="{scopes}"' if scopes else text}
        return error
    return challenged_person(registry, error, peer)


def challenged_person(registry: Registry, error: Unauthorized, peer: Peer) -> RegistryError:
    """The refusal with a password as the way in, which browsers know; another one where nobody may send any."""
    try:
        registry.access.logins.check_way(peer)
    except Denied as refusal:
        return refusal
    return asked_for_password(registry, error)


def asked_for_password(registry: Registry, error: Unauthorized) -> Unauthorized:
    """The refusal with a Basic challenge."""
    error.headers = {"WWW-Authenticate": f'Basic realm="{registry.settings.auth.htpasswd.realm}"'}
    return error
