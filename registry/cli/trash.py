"""`digestry trash list|restore|purge`."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, TypeAlias

from cyclopts import Parameter, Token

from registry.assembly import Registry
from registry.cli.acting import OPERATING, confirm, every, say
from registry.cli.opening import run_on
from registry.cli.options import AsJson, ConfigFile, Flags, Yes
from registry.cli.tables import print_table, short
from registry.content.trash import Entry, Restored
from registry.domain.access import OPERATOR
from registry.domain.names import RepositoryName
from registry.domain.paging import row_id
from registry.domain.times import rfc3339
from registry.values import counted, written_duration


class Id(int):
    """Of an entry; the word that the help shows."""


def _id(kind: type, tokens: Sequence[Token]) -> Id:
    found = row_id(tokens[0].value)
    if found is None:
        raise ValueError("expected the id of an entry; `digestry trash list` shows it")
    return Id(found)


EntryId: TypeAlias = Annotated[Id, Parameter(name="id", converter=_id, n_tokens=1, help="As `trash list` has it.")]
Where: TypeAlias = Annotated[str | None, Parameter(name="--repository", help="In which repository.")]
NewName: TypeAlias = Annotated[
    str | None, Parameter(name="--as", help="Another name to come back under, of a repository or of a tag.")
]


def list_entries(
    *, repository: Where = None, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False
) -> int:
    """What can be restored, newest first."""

    async def show(registry: Registry) -> None:
        name = None if repository is None else RepositoryName.parse(repository)
        found = await every(lambda page: registry.trash.list(page, OPERATOR.rights, name))
        keep = registry.trash.keep
        if as_json:
            print(json.dumps([_told(entry, keep) for entry in found], indent=2))
        else:
            print_table(["id", "kind", "what", "deleted", "by", "until"], [_row(entry, keep) for entry in found])

    return run_on(config, flags, show, as_json=as_json)


def restore(
    entry_id: EntryId,
    /,
    *,
    new_name: NewName = None,
    config: ConfigFile = None,
    flags: Flags = (),
    as_json: AsJson = False,
) -> int:
    """Bring something back, with what was deleted together with it. Newer tags stay.

    Exit code 1 when nothing came back because of them.
    """

    async def bring_back(registry: Registry) -> int:
        restored = await registry.trash.restore(entry_id, OPERATING, new_name)
        say(_in_words(restored), asdict(restored), as_json=as_json)
        return 1 if restored.conflicts and not (restored.manifests or restored.tags) else 0

    return run_on(config, flags, bring_back, as_json=as_json)


def purge(
    entry_id: EntryId, /, *, yes: Yes = False, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False
) -> int:
    """Give something up before its time: it can't be restored any more."""

    async def give_up(registry: Registry) -> None:
        entry = await registry.trash.get(entry_id)
        if not yes:
            confirm(f"{entry.kind} {_what(entry)}: it can't be restored any more", str(entry_id))
        await registry.trash.purge(entry_id, OPERATING)
        waits = written_duration(registry.settings.gc.trash)
        text = f"the {entry.kind} {_what(entry)} can't be restored any more; what only it used is freed after {waits}"
        say(text, _told(entry, registry.trash.keep), as_json=as_json)

    return run_on(config, flags, give_up, as_json=as_json)


def _told(entry: Entry, keep: int) -> dict[str, Any]:
    return {
        "id": entry.id,
        "kind": entry.kind,
        "repository": entry.repository,
        "tag": entry.tag,
        "digest": entry.digest,
        "deleted_at": rfc3339(entry.deleted_at),
        "deleted_by": entry.deleted_by,
        "restorable_until": rfc3339(entry.deleted_at + keep),
    }


def _row(entry: Entry, keep: int) -> list[str]:
    deleted, until = rfc3339(entry.deleted_at), rfc3339(entry.deleted_at + keep)
    return [str(entry.id), entry.kind, _what(entry), deleted, entry.deleted_by, until]


def _what(entry: Entry) -> str:
    digest = f"@{short(entry.digest)}" if entry.digest else ""
    return f"{entry.repository}{f':{entry.tag}' if entry.tag else ''}{digest}"


def _in_words(restored: Restored) -> str:
    name = restored.repository
    lines = [f"{name}: {counted(restored.manifests, 'manifest')}, {counted(restored.tags, 'tag')} back"]
    for kept in restored.conflicts:
        lines.append(f"{name}:{kept.tag} stays at {kept.kept}; it was {kept.restored}")
        lines.append(f"  to go back to that: digestry tag rollback {name}:{kept.tag} --to {kept.restored}")
    return "\n".join(lines)
