"""`digestry access explain`."""

import json
from typing import Annotated, TypeAlias

from cyclopts import Parameter

from registry.access.explain import Reason
from registry.assembly import Registry
from registry.cli import grant as grants
from registry.cli.acting import note, note_open
from registry.cli.opening import run_on
from registry.cli.options import AsJson, ConfigFile, Flags
from registry.cli.tables import print_table
from registry.domain.access import OPERATOR
from registry.domain.action import Action
from registry.domain.grants import Grant
from registry.domain.names import RepositoryName

As: TypeAlias = Annotated[
    str, Parameter(name="--as", help="Who: alice or user:alice, robot:NAME, ci:NAME or anonymous.")
]
On: TypeAlias = Annotated[str, Parameter(name="--on", help="A repository, such as team/app; it need not exist.")]


def explain(*, subject: As, on: On, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Say of each verb whether, and by which grant."""

    async def show(registry: Registry) -> None:
        repository = RepositoryName.parse(on)
        reasons = await registry.access.explain.why(subject, repository)
        note_open(registry.settings)
        _note_closed(registry, repository)
        if as_json:
            verbs = [_told(reason) for reason in reasons]
            print(json.dumps({"subject": subject, "repository": on, "verbs": verbs}, indent=2))
            return
        creator = await _creator(registry, reasons, subject)
        rows = [[reason.verb, "yes" if reason.allowed else "no", _why(reason, creator)] for reason in reasons]
        print_table(["verb", "", "why"], rows)

    return run_on(config, flags, show, as_json=as_json)


def _note_closed(registry: Registry, repository: RepositoryName) -> None:
    """What the whole registry does not do now, whoever asks."""
    for verb in (Action.PUSH, Action.DELETE):
        refusal = registry.policy.decide(OPERATOR, verb, repository)
        if refusal is not None:
            note(f"{verb} is refused to everybody: {refusal.message}")


async def _creator(registry: Registry, reasons: list[Reason], subject: str) -> str:
    if not any(reason.missing_in_creator for reason in reasons):
        return ""
    return (await registry.access.robots.get(subject.removeprefix("robot:"))).created_by


def _why(reason: Reason, creator: str) -> str:
    if not reason.grants:
        return "no grant gives it"
    held = sorted(reason.grants, key=lambda grant: grant.id)
    given = "; ".join(_given(grant, reason.verb) for grant in held)
    return f"{given}; but {creator}, who made it, may not" if reason.missing_in_creator else given


def _given(grant: Grant, verb: Action) -> str:
    """One grant, and why it gives the verb if it does not name it."""
    place = f"grant {grant.id}" if grant.id else grant.source
    return f"{place}: {grants.in_words(grant)}" + ("" if verb in grant.verbs else ", and so all verbs")


def _told(reason: Reason) -> dict[str, object]:
    return {
        "verb": reason.verb.value,
        "allowed": reason.allowed,
        "grants": [grants.told(grant) for grant in reason.grants],
        "missing_in_creator": reason.missing_in_creator,
    }
