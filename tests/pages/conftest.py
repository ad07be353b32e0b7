"""A server whose grants decide, with something to look at."""

from collections.abc import Iterator

import pytest

from registry.assembly import Registry
from tests.support.access import add_user, grant, required
from tests.support.filling import HOSTILE, furnished, put, put_artifact, put_hostile
from tests.support.images import image, index
from tests.support.server import LiveServer

LONG = "/".join(["a" * 50] * 5)
LONG_TAG = "t" * 128


async def furnish(registry: Registry) -> None:
    """Alice may pull team/** and odd/**, plain nothing, and anybody public/**."""
    await put(registry, "team/app", "v1", image("app"))
    await put(registry, "team/app", "v2", index("app"))
    await put_artifact(registry, "team/app", "chart", "application/vnd.example.chart+json")
    await put(registry, "public/tool", "latest", image("tool"))
    await put(registry, "secret/plan", "v1", image("plan"))
    await put(registry, LONG, LONG_TAG, index("long", platforms=[f"linux/{'x' * 40}/v{n}" for n in range(8)]))
    for number, text in enumerate(HOSTILE):
        await put_hostile(registry, "odd/texts", text, f"t{number}")
    await add_user(registry, "alice", **{"team/**": "pull", "odd/**": "pull", LONG: "pull"})
    await add_user(registry, "plain")
    await grant(registry, "anonymous", {"public/**": "pull"})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Nothing that a test asks for may fail within it."""
    settings = required(REGISTRY_RATELIMIT_FAILURES="")
    with furnished(tmp_path_factory.mktemp("pages"), furnish, settings) as server:
        yield server
        assert server.tracebacks() == []
