"""Registries that let nobody in unasked, those who come to them, and what each may do."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from registry.assembly import Registry
from tests.support.access import (
    CHALLENGES,
    OPERATING,
    add_robot,
    add_user,
    basic,
    grant,
    operate,
    required_server,
)
from tests.support.ci import github_rule
from tests.support.images import Remote
from tests.support.issuer import Issuer, github_claims, running_issuer
from tests.support.server import LiveServer

OURS = "clients/**"
PUBLIC = "public/**"
ELSEWHERE = "elsewhere/**"
AGAIN = "refs/heads/again"


@pytest.fixture(scope="module", params=CHALLENGES)
def live_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One that sends clients to its token service, and one that does not know where that is."""
    with required_server(tmp_path_factory.mktemp("server"), request.param) as server:
        operate(server, _add_people)
        yield server


async def _add_people(registry: Registry) -> None:
    """Those named by what they are; anybody may pull what is public."""
    await add_user(registry, "owner", **{OURS: "pull,push,overwrite,delete", PUBLIC: "pull,push"})
    await add_user(registry, "pusher", **{OURS: "pull,push"})
    await add_user(registry, "reader", **{OURS: "pull"})
    await add_user(registry, "neighbour", **{ELSEWHERE: "pull,push"})
    await add_user(registry, "outsider")
    await grant(registry, "anonymous", {PUBLIC: "pull"})


@pytest.fixture
def remote(live_server: LiveServer, request: pytest.FixtureRequest) -> Remote:
    """A repository of this test's own, seen by its owner."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    return Remote(live_server.host, f"clients/{name}", basic("owner")["Authorization"])


@pytest.fixture
def public(remote: Remote) -> Remote:
    """One that anybody may pull from."""
    return replace(remote, name=remote.name.replace("clients", "public"))


@pytest.fixture
def elsewhere(remote: Remote) -> Remote:
    """The neighbour's."""
    return replace(
        remote, name=remote.name.replace("clients", "elsewhere"), authorization=basic("neighbour")["Authorization"]
    )


@pytest.fixture(scope="module")
def robot(live_server: LiveServer) -> str:
    """The secret of robot$ci, which may push."""

    async def add(registry: Registry) -> str:
        secret = await add_robot(registry, "ci")
        await grant(registry, "robot:ci", {OURS: "pull,push"})
        return secret

    return operate(live_server, add)


@pytest.fixture(scope="module")
def issuer(live_server: LiveServer) -> Iterator[Issuer]:
    """Who says what a CI job is. Its jobs may push, and those for the branch AGAIN may use a token several times."""
    with running_issuer() as issuer:

        async def add(registry: Registry) -> None:
            again = replace(github_rule(issuer.url, "again", ref=(AGAIN,)), reuse=10_000)
            for rule in (github_rule(issuer.url), again):
                await registry.access.rules.add(rule, OPERATING)
                await grant(registry, f"ci:{rule.name}", {OURS: "pull,push"})

        operate(live_server, add)
        yield issuer


@pytest.fixture
def reusable(issuer: Issuer) -> str:
    """The token of a job that may use it several times."""
    return issuer.mint(**github_claims(ref=AGAIN))
