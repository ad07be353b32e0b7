"""`digestry grant add|remove|list`."""

import json
from collections.abc import Iterable
from typing import Annotated, Any, TypeAlias

from cyclopts import Parameter

from registry.assembly import Registry
from registry.cli.acting import OPERATING, note_open, note_unknown_user, say
from registry.cli.opening import run_on
from registry.cli.options import AsJson, ConfigFile, Flags
from registry.cli.tables import print_table
from registry.domain.action import VERBS, Action
from registry.domain.grants import (
    ANONYMOUS_SUBJECT,
    AUTHENTICATED,
    Grant,
    Pattern,
    parse_account,
    parse_subject,
    parse_verbs,
)
from registry.domain.names import RepositoryName
from registry.domain.paging import PAGE_LIMIT
from registry.domain.problems import Invalid

_SUBJECTS = "user:NAME, group:NAME, robot:NAME, ci:NAME, authenticated or anonymous."

Subject: TypeAlias = Annotated[str, Parameter(help=f"Whose it is: {_SUBJECTS}")]
PatternText: TypeAlias = Annotated[
    str,
    Parameter(
        name="pattern",
        help="Where: `team/app`, `team/*` (just below), `team/**` (all below) or `**`; in quotes for the shell.",
    ),
]
VerbWords: TypeAlias = Annotated[
    str, Parameter(name="verbs", help=f"What, joined by commas: {', '.join(VERBS)}. admin is all of them.")
]
OfSubject: TypeAlias = Annotated[str | None, Parameter(name="--subject", help=f"Only those of one: {_SUBJECTS}")]
OnRepository: TypeAlias = Annotated[
    str | None, Parameter(name="--on", help="Only those that give something on this repository.")
]


def add(
    subject: Subject,
    pattern: PatternText,
    verbs: VerbWords,
    /,
    *,
    config: ConfigFile = None,
    flags: Flags = (),
    as_json: AsJson = False,
) -> int:
    """Give verbs on a pattern, beside those that the subject has there."""

    async def give(registry: Registry) -> None:
        wanted = Grant(_subject(subject), Pattern.parse(pattern), parse_verbs(verbs.split(",")))
        grant = await registry.access.grants.add(wanted, OPERATING)
        say(f"grant {grant.id}: {in_words(grant)}", told(grant), as_json=as_json)
        kind, _, name = subject.partition(":")
        if kind == "user":
            await note_unknown_user(registry, name)
        note_open(registry.settings)

    return run_on(config, flags, give, as_json=as_json)


def remove(
    subject: Subject,
    pattern: PatternText,
    /,
    *,
    config: ConfigFile = None,
    flags: Flags = (),
    as_json: AsJson = False,
) -> int:
    """Take back all that a subject has on just this pattern."""

    async def take(registry: Registry) -> None:
        grants = registry.access.grants
        held = await grants.find_for(Grant(_subject(subject), Pattern.parse(pattern), frozenset()))
        await grants.remove(held.id, OPERATING)
        say(f"took back: {in_words(held)}", told(held), as_json=as_json)

    return run_on(config, flags, take, as_json=as_json)


def list_grants(
    *,
    subject: OfSubject = None,
    on: OnRepository = None,
    config: ConfigFile = None,
    flags: Flags = (),
    as_json: AsJson = False,
) -> int:
    """Grants, oldest first."""

    async def show(registry: Registry) -> None:
        repository = None if on is None else RepositoryName.parse(on)
        held = await _all(registry, None if subject is None else _subject(subject))
        found = [grant for grant in held if repository is None or grant.pattern.matches(repository)]
        if as_json:
            print(json.dumps([told(grant) for grant in found], indent=2))
        else:
            rows = [[str(grant.id), grant.subject, grant.pattern.text, _words(grant.verbs)] for grant in found]
            print_table(["id", "subject", "pattern", "verbs"], rows)

    return run_on(config, flags, show, as_json=as_json)


def told(grant: Grant) -> dict[str, Any]:
    """A grant as /api/v1/ tells it: one that no row holds has a source instead of an id."""
    place = {"id": grant.id} if grant.id else {"source": grant.source}
    verbs = [verb.value for verb in VERBS if verb in grant.verbs]
    return {"subject": grant.subject, "pattern": grant.pattern.text, "verbs": verbs, **place}


def in_words(grant: Grant) -> str:
    return f"{grant.subject} has {_words(grant.verbs)} on {grant.pattern.text}"


def _words(verbs: Iterable[Action]) -> str:
    held = set(verbs)
    return ",".join(verb for verb in VERBS if verb in held)


def _subject(text: str) -> str:
    """A name alone may be anybody's."""
    if ":" not in text and text not in (AUTHENTICATED, ANONYMOUS_SUBJECT):
        name = parse_account(text)
        raise Invalid(f"say who {name} is: user:{name} or group:{name}, robot:{name}, ci:{name}")
    return parse_subject(text)


async def _all(registry: Registry, subject: str | None) -> list[Grant]:
    found: list[Grant] = []
    while True:
        batch = await registry.access.grants.list(subject, found[-1].id if found else 0, PAGE_LIMIT)
        found += batch
        if len(batch) < PAGE_LIMIT:
            return found
