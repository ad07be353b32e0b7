"""Why somebody may or may not do something: the grants behind each verb."""

from collections.abc import Sequence
from dataclasses import dataclass

from registry.access.directory import Directory
from registry.domain.access import OPERATOR, Identity
from registry.domain.action import VERBS, Action
from registry.domain.grants import ANONYMOUS_SUBJECT, AUTHENTICATED, Grant, Rights, parse_subject
from registry.domain.names import RepositoryName
from registry.domain.problems import Invalid, Missing


@dataclass(frozen=True, slots=True)
class Reason:
    """One verb. `grants`: those that give it; `missing_in_creator`: a robot has it, but its creator has not."""

    verb: Action
    allowed: bool
    grants: Sequence[Grant]
    missing_in_creator: bool


class Explain:
    """The service behind `access explain`. `opened`: who everybody is where nobody is asked."""

    def __init__(self, directory: Directory, opened: Identity | None) -> None:
        self._directory = directory
        self._opened = opened

    async def why(self, subject: str, repository: RepositoryName) -> list[Reason]:
        """A reason for each verb. `subject` may be a user's bare name. Raise Invalid, Missing."""
        await self._directory.renew()
        rights = await self._rights(subject if ":" in subject else _named(subject))
        return [_reason(rights, verb, repository) for verb in VERBS]

    async def _rights(self, subject: str) -> Rights:
        if parse_subject(subject).partition(":")[0] in ("group", AUTHENTICATED):
            raise Invalid("ask for a user, a robot, a rule (ci:NAME) or anonymous; groups only give grants to users")
        found = self._opened.rights if self._opened else await self._directory.rights_of(subject)
        if found is None:
            raise Missing(f"{subject} can't log in: unknown or disabled (a robot also when its creator is)")
        return found


def _named(subject: str) -> str:
    if subject == OPERATOR.name:
        raise Invalid("the operator is whoever runs commands, and may do everything")
    return subject if subject in (ANONYMOUS_SUBJECT, AUTHENTICATED) else f"user:{subject}"


def _reason(rights: Rights, verb: Action, repository: RepositoryName) -> Reason:
    giving = [grant for grant in rights.grants if grant.gives(verb) and grant.pattern.matches(repository)]
    allowed = rights.allow(verb, repository)
    return Reason(verb, allowed, giving, missing_in_creator=bool(giving) and not allowed)
