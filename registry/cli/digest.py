"""`digestry digest show|tags|manifests|repositories`."""

import json
from dataclasses import asdict
from typing import Annotated, Any, TypeAlias

from cyclopts import Parameter

from registry.assembly import Registry
from registry.cli.acting import every, told_time
from registry.cli.opening import run_on
from registry.cli.options import AsJson, ConfigFile, DigestText, Flags
from registry.cli.tables import print_table
from registry.content.digests import PointingTag, Summary
from registry.values import rounded_size

Ever: TypeAlias = Annotated[bool, Parameter(name="--ever", negative="", help="Also those that pointed there before.")]


def show(digest: DigestText, /, *, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Say what a digest is, and what it is called."""

    async def tell(registry: Registry) -> None:
        found = await registry.digests.get(await registry.digests.resolve(digest, None), None)
        if as_json:
            print(json.dumps({**asdict(found), "verified_at": told_time(found.verified_at)}, indent=2))
        else:
            print_table(["digest", found.digest], _lines(found))

    return run_on(config, flags, tell, as_json=as_json)


def tags(
    digest: DigestText,
    /,
    *,
    ever: Ever = False,
    config: ConfigFile = None,
    flags: Flags = (),
    as_json: AsJson = False,
) -> int:
    """Tags that point to a manifest, or to what holds a blob."""

    async def tell(registry: Registry) -> None:
        digests = registry.digests
        found = await digests.resolve(digest, None, ever=ever)
        pointing = [_told(one) for one in await every(lambda page: digests.tags(found, None, page, ever=ever))]
        _print(["repository", "tag", "digest", "since", "until"], pointing, as_json=as_json)

    return run_on(config, flags, tell, as_json=as_json)


def manifests(digest: DigestText, /, *, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Manifests that name a digest, and what deleting each of them alone would free."""

    async def tell(registry: Registry) -> None:
        digests = registry.digests
        found = await digests.resolve(digest, None)
        holding = [asdict(one) for one in await every(lambda page: digests.manifests(found, None, page))]
        _print(["name", "digest", "frees"], holding, as_json=as_json)

    return run_on(config, flags, tell, as_json=as_json)


def repositories(
    digest: DigestText, /, *, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False
) -> int:
    """Repositories that hold a digest, and what deleting each of them would free."""

    async def tell(registry: Registry) -> None:
        digests = registry.digests
        found = await digests.resolve(digest, None)
        holding = [asdict(one) for one in await every(lambda page: digests.repositories(found, None, page))]
        _print(["repository", "kinds", "frees"], holding, as_json=as_json)

    return run_on(config, flags, tell, as_json=as_json)


def _lines(found: Summary) -> list[list[str]]:
    """What there is to tell."""
    lines = {
        "name": found.name or "in no repository: only the trash or a lease keeps it",
        "is a": " and ".join(found.kinds),
        "media type": found.media_type,
        "artifact type": found.artifact_type,
        "platform": found.platform,
        "size": rounded_size(found.size),
        "state": found.state,
        "verified": told_time(found.verified_at),
    }
    return [[head, text] for head, text in lines.items() if text]


def _told(one: PointingTag) -> dict[str, Any]:
    return {**asdict(one), "since": told_time(one.since), "until": told_time(one.until)}


def _print(columns: list[str], rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        print_table(columns, [[_cell(column, row[column]) for column in columns] for row in rows])


def _cell(column: str, value: Any) -> str:
    if column == "frees":
        return rounded_size(value)
    if column == "kinds":
        return " and ".join(value)
    return "now" if value is None else str(value)
