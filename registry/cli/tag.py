"""`digestry tag list|history|rollback`."""

import json
from dataclasses import asdict
from typing import Annotated, Any, TypeAlias

from cyclopts import Parameter
from cyclopts.validators import Number

from registry.assembly import Registry
from registry.cli.acting import OPERATING, TIME, Time, every, note, say, told_time
from registry.cli.opening import run_on
from registry.cli.options import AsJson, ConfigFile, Flags, Repository
from registry.cli.tables import print_table, short
from registry.content.history import Change, Move, Wish
from registry.content.overview import TagOverview
from registry.domain.access import OPERATOR
from registry.domain.names import Digest, RepositoryName, Tag
from registry.domain.paging import PAGE_LIMIT, PageRequest
from registry.domain.problems import Invalid
from registry.domain.times import rfc3339
from registry.values import rounded_size

SHOWN = 50

TagName: TypeAlias = Annotated[str, Parameter(name="tag", help="NAME:TAG, such as team/app:latest.")]
TagNames: TypeAlias = Annotated[tuple[str, ...], Parameter(name="tags", help="NAME:TAG, one or more.")]
At: TypeAlias = Annotated[Time | None, TIME, Parameter(name="--at", help="A time, RFC 3339; or so long ago: 2h.")]
To: TypeAlias = Annotated[str | None, Parameter(name="--to", help="A digest, or at least 8 hex digits of it.")]
Expect: TypeAlias = Annotated[str | None, Parameter(name="--expect", help="Only if they point to this digest now.")]
DryRun: TypeAlias = Annotated[bool, Parameter(name="--dry-run", negative="", help="Show it, and change nothing.")]
Limit: TypeAlias = Annotated[
    int, Parameter(name="--limit", validator=Number(gte=1, lte=PAGE_LIMIT), help="At most so many moves.")
]


def list_tags(
    repository: Repository, /, *, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False
) -> int:
    """Tags of a repository, by name."""

    async def show(registry: Registry) -> None:
        name = RepositoryName.parse(repository)
        found = await every(lambda page: registry.overview.tags(name, page))
        if as_json:
            print(json.dumps([_told(tag) for tag in found], indent=2))
        else:
            print_table(["tag", "kind", "platforms", "size", "pushed", "digest"], [_row(tag) for tag in found])

    return run_on(config, flags, show, as_json=as_json)


def history(
    tag: TagName,
    /,
    *,
    at: At = None,
    limit: Limit = SHOWN,
    config: ConfigFile = None,
    flags: Flags = (),
    as_json: AsJson = False,
) -> int:
    """How a tag moved, newest first; or what it pointed to at a time."""

    async def show(registry: Registry) -> None:
        name, wanted = _parsed(tag)
        if at is not None:
            digest = await registry.history.at(name, wanted, at)
            say(digest, {"repository": name, "tag": wanted, "at": rfc3339(at), "digest": digest}, as_json=as_json)
            return
        page = await registry.history.of_tag(name, wanted, PageRequest(limit))
        if as_json:
            print(json.dumps([{**move._asdict(), "at": rfc3339(move.at)} for move in page.entries], indent=2))
            return
        print_table(["time", "who", "from", "did", "old", "new"], [_row_of_move(move) for move in page.entries])
        if page.next_last is not None:
            note("there are more: --limit shows them")

    return run_on(config, flags, show, as_json=as_json)


def rollback(
    tags: TagNames,
    /,
    *,
    to: To = None,
    at: At = None,
    expect: Expect = None,
    dry_run: DryRun = False,
    config: ConfigFile = None,
    flags: Flags = (),
    as_json: AsJson = False,
) -> int:
    """Set tags back, all of them or none. What they go back to may be in the trash."""

    async def change(registry: Registry) -> None:
        if to is not None and at is not None:
            raise Invalid("give --to or --at, not both")
        wishes = [await _wish(registry, tag, to, at, expect) for tag in tags]
        act = registry.history.preview if dry_run else registry.history.roll_back
        changes = await act(wishes, OPERATING)
        if as_json:
            print(json.dumps([asdict(one) for one in changes], indent=2))
            return
        print_table(["tag", "from", "to"], [_row_of_change(one) for one in changes])
        if dry_run:
            note("nothing was changed")

    return run_on(config, flags, change, as_json=as_json)


async def _wish(registry: Registry, tag: str, to: str | None, at: int | None, expect: str | None) -> Wish:
    repository, name = _parsed(tag)

    async def digest(text: str | None) -> Digest | None:
        return None if text is None else await registry.history.digest(repository, text, OPERATOR)

    return Wish(repository, name, await digest(to), at, await digest(expect))


def _parsed(text: str) -> tuple[RepositoryName, Tag]:
    name, colon, tag = text.rpartition(":")
    if not colon:
        raise Invalid(f"{text} has no tag: write it as NAME:TAG, such as {text}:latest")
    return RepositoryName.parse(name), Tag.parse(tag)


def _row_of_move(move: Move) -> list[str]:
    return [rfc3339(move.at), move.identity, move.address or "", move.action, short(move.old), short(move.new)]


def _row_of_change(change: Change) -> list[str]:
    new = f"{short(change.new)}{' (it was there already)' if change.old == change.new else ''}"
    return [f"{change.repository}:{change.tag}", short(change.old), new]


def _told(tag: TagOverview) -> dict[str, Any]:
    return {**asdict(tag), "moved_at": told_time(tag.moved_at)}


def _row(tag: TagOverview) -> list[str]:
    pushed = told_time(tag.moved_at) or ""
    return [tag.name, tag.kind, ", ".join(tag.platforms), rounded_size(tag.size), pushed, tag.digest]
