"""The services that check CI tokens, on a database in a folder, with rules for an issuer of the tests."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from registry.access.ci import CiTokens
from registry.access.issuers import Issuers
from registry.domain.ci import Rule, parse_rule
from registry.metadata import ci
from registry.metadata.database import Database
from registry.metadata.schema import upgrade
from storage.failure import FailureMark
from tests.support.issuer import AUDIENCE


@dataclass(frozen=True, slots=True)
class Ci:
    database: Database
    issuers: Issuers
    tokens: CiTokens


@asynccontextmanager
async def opened_ci(folder: Path, clock: Callable[[], int], *rules: Rule) -> AsyncIterator[Ci]:
    """What one process has; a second one in the same folder is a second process."""
    path = folder / "registry.db"
    if not path.exists():
        upgrade(path)
    database = Database(path, clock, FailureMark())
    issuers = Issuers(database)
    try:
        for rule in rules:
            await database.write(ci.insert_rule, rule)
        yield Ci(database, issuers, CiTokens(database, issuers, clock))
    finally:
        await issuers.close()
        await database.close()


def github_rule(issuer: str, name: str = "deploy", **claims: tuple[str, ...]) -> Rule:
    wanted = {"repository_id": ("1234",), "repository_owner_id": ("99",), "repository": ("team/app",), **claims}
    return parse_rule(name, "github", AUDIENCE, wanted, created_by="user:admin", issuer=issuer)


def gitlab_rule(issuer: str, name: str = "release") -> Rule:
    wanted = {"project_id": ("20",), "namespace_id": ("72",), "ref_protected": ("true",)}
    return parse_rule(name, "gitlab", AUDIENCE, wanted, created_by="user:admin", issuer=issuer)


def generic_rule(issuer: str, name: str = "other", *subjects: str) -> Rule:
    wanted = {"sub": subjects or ("system:job",)}
    return parse_rule(name, "generic", AUDIENCE, wanted, created_by="user:admin", issuer=issuer)
