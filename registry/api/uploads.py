"""Uploads: end-4, 5, 6, 11, 13 and 14."""

from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from registry.api import locations
from registry.api.call import Call, empty
from registry.content.intake import Body
from registry.content.uploads import UploadState
from registry.domain.access import Action
from registry.domain.errors import DigestUnsupported, NameInvalid, SizeInvalid, Unauthorized, UploadOutOfOrder
from registry.domain.names import ALGORITHMS, Digest, RepositoryName, parse_digest
from registry.domain.scopes import needed
from registry.domain.uploads import UploadKey
from registry.web.bodies import declared_length
from registry.web.ranges import parse_content_range, parse_offset


async def start(call: Call) -> web.StreamResponse:
    """end-4a, 4b, 4c and 11."""
    if (mount := call.one("mount")) is not None:
        digest = parse_digest(mount)
        if await _mount(call, digest):
            return _created(call, digest)
    elif "digest" in call.query:
        digest = call.query_digest()
        await call.registry.uploads.push(call.repository, call.caller, digest, _body(call))
        return _created(call, digest)
    algorithm = call.one("digest-algorithm") or "sha256"
    if algorithm not in ALGORITHMS:
        raise DigestUnsupported()
    state = await call.registry.uploads.start(call.repository, call.caller, algorithm)
    return empty(202, _state_headers(call, state))


async def append(call: Call) -> web.StreamResponse:
    """end-5."""
    with _located(call):
        state = await call.registry.uploads.append(_key(call), _body(call))
    return empty(202, _state_headers(call, state))


async def finish(call: Call) -> web.StreamResponse:
    """end-6."""
    digest = call.query_digest()
    with _located(call):
        await call.registry.uploads.finish(_key(call), digest, _body(call))
    return _created(call, digest)


async def status(call: Call) -> web.StreamResponse:
    """end-13."""
    state = await call.registry.uploads.status(_key(call))
    return empty(204, {**_state_headers(call, state), "Range": _true_range(state.offset)})


async def cancel(call: Call) -> web.StreamResponse:
    """end-14."""
    await call.registry.uploads.cancel(_key(call))
    return empty(204, {})


async def _mount(call: Call, digest: Digest) -> bool:
    """A mount that can't be is no error: the client uploads instead (spec, "Mounting a blob")."""
    source = None
    if (name := call.one("from")) is not None:
        try:
            source = RepositoryName.parse(name)
        except NameInvalid:
            return False
        _check_asked(call, source)
    identity, policy = call.caller.identity, call.registry.policy
    return await call.registry.uploads.mount(
        call.repository, digest, source, lambda name: policy.decide(identity, Action.PULL, name) is None
    )


def _check_asked(call: Call, source: RepositoryName) -> None:
    """A token that nobody asked to pull from the source gets one challenge for both (design, section 8)."""
    token = call.caller.identity.token
    if token is None or token.covers(Action.PULL, source) or token.was_refused(Action.PULL, source):
        return
    raise Unauthorized(scopes=f"{needed(Action.PUSH, call.repository)} {needed(Action.PULL, source)}")


def _key(call: Call) -> UploadKey:
    return UploadKey(call.upload_id, call.repository, call.caller.identity.name)


def _body(call: Call) -> Body:
    """The bytes, and where the client says that they belong: Content-Range, else the Location it followed."""
    length = declared_length(call.request)
    if (header := call.header("Content-Range")) is not None:
        chunk = parse_content_range(header)
        if length is not None and length != chunk.length:
            raise SizeInvalid("Content-Range and Content-Length declare different lengths")
        return Body(call.body(), chunk.start, chunk.length)
    offset = call.one("offset") if length != 0 else None
    return Body(call.body(), None if offset is None else parse_offset(offset), length)


def _created(call: Call, digest: Digest) -> web.Response:
    return empty(201, {"Location": locations.blob(call, digest), "Docker-Content-Digest": digest})


def _state_headers(call: Call, state: UploadState) -> dict[str, str]:
    # moby refuses a range that ends before it starts, so none is told as 0-0 (spec page, section 3.5)
    return {
        "Location": locations.upload(call, state.id, state.offset),
        "Range": f"0-{max(state.offset - 1, 0)}",
        "Docker-Upload-UUID": state.id,
    }


def _true_range(offset: int) -> str:
    return f"0-{offset - 1}"


@contextmanager
def _located(call: Call) -> Iterator[None]:
    """A client that is out of order learns where to go on; regclient then does by itself."""
    try:
        yield
    except UploadOutOfOrder as error:
        error.headers = {
            "Location": locations.upload(call, call.upload_id, error.offset),
            "Range": _true_range(error.offset),
        }
        raise
