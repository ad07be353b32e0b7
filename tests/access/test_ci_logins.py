"""What the token service hands out for a CI token, and what it remembers of it (A-15)."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from registry.access.token_service import Issued, TokenRequest
from registry.assembly import Registry, open_registry
from registry.domain.access import Peer
from registry.domain.audit import EventFilter
from registry.domain.errors import Unauthorized
from registry.domain.paging import PageRequest
from registry.domain.scopes import parse_scopes
from registry.metadata.schema import upgrade
from tests.support.access import OPERATING, basic, required_settings
from tests.support.ci import github_rule
from tests.support.issuer import Issuer, github_claims, running_issuer

HERE, THERE = "192.0.2.1", "192.0.2.2"
REUSE = 10_000


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        yield issuer


@asynccontextmanager
async def opened(folder: Path, issuer: Issuer, reuse: int) -> AsyncIterator[Registry]:
    upgrade(folder / "registry.db")
    registry = open_registry(required_settings(folder, "https://registry.example.com"))
    try:
        await registry.access.rules.add(replace(github_rule(issuer.url), reuse=reuse), OPERATING)
        yield registry
    finally:
        await registry.close()


async def ask(
    registry: Registry, token: str, *scopes: str, address: str = HERE, is_offline: bool = False
) -> Issued | None:
    """None when it is refused."""
    peer = Peer(address, is_private=True)
    wanted = TokenRequest(parse_scopes(scopes), is_offline=is_offline, peer=peer, request_id="test")
    try:
        return await registry.access.token_service.by_basic(basic("oidc", token)["Authorization"], wanted)
    except Unauthorized as error:
        assert "used before" in str(error)
        return None


async def logins(registry: Registry) -> int:
    page = await registry.access.audit.list(EventFilter(action="login"), PageRequest(10))
    return len(page.entries)


SCOPE = "repository:team/app:pull"


async def test_a_token_that_is_used_up_is_no_password_any_more(tmp_path: Path, issuer: Issuer) -> None:
    """`podman login` asks for nothing, which uses nothing up."""
    token = issuer.mint(**github_claims())
    async with opened(tmp_path, issuer, 0) as registry:
        for _ in range(2):
            assert await ask(registry, token)
        assert await logins(registry) == 0
        assert await ask(registry, token, SCOPE)
        assert not await ask(registry, token)
        assert not await ask(registry, token, SCOPE)
        assert await logins(registry) == 1


async def test_one_command_is_one_login(tmp_path: Path, issuer: Issuer) -> None:
    token = issuer.mint(**github_claims())
    async with opened(tmp_path, issuer, REUSE) as registry:
        for scopes in ([SCOPE], [SCOPE], []):
            issued = await ask(registry, token, *scopes)
            assert issued and issued.refresh_token is None
        for scopes in ([SCOPE], []):
            assert not await ask(registry, token, *scopes, address=THERE)
        assert not await ask(registry, token, is_offline=True)
        assert await logins(registry) == 1


async def test_a_login_that_is_kept_is_the_only_one(tmp_path: Path, issuer: Issuer) -> None:
    token = issuer.mint(**github_claims())
    async with opened(tmp_path, issuer, REUSE) as registry:
        issued = await ask(registry, token, is_offline=True)
        assert issued and issued.refresh_token
        for scopes in ([SCOPE], []):
            assert not await ask(registry, token, *scopes)
        assert not await ask(registry, token, is_offline=True)
        assert await logins(registry) == 1
