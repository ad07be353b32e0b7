"""The garbage collection: how it is, run it, what it would do, and why something stays."""

from msgspec import Struct

from registry.admin.answers import told
from registry.admin.inputs import Time
from registry.admin.operation import Call
from registry.domain.problems import Missing


class Candidates(Struct, frozen=True, kw_only=True):
    """`entries` of the trash that expire, `links` to look at, `keys` whose `bytes` go."""

    entries: int
    links: int
    keys: int
    bytes: int


class GcState(Struct, frozen=True, kw_only=True):
    """`late`: seconds since the first candidate could have gone."""

    done_at: Time | None
    running: bool
    wanted: bool
    candidates: Candidates
    late: float


class GcPlan(Struct, frozen=True, kw_only=True):
    """`doomed_bytes` would be doomed, and go later; `freed_bytes` would go now."""

    expired: int
    rows: int
    links: int
    blobs: int
    doomed_bytes: int
    files: int
    freed_bytes: int


class GcReasons(Struct, frozen=True, kw_only=True):
    digest: str
    reasons: list[str]


async def get_gc(call: Call) -> GcState:
    """When it ran, and what it has before it."""
    task, waiting = await call.registry.tasks.state("gc"), await call.registry.gc.waiting()
    return told(GcState, task, candidates=told(Candidates, waiting), late=waiting.late / 1000)


async def run_gc(call: Call) -> GcState:
    """Have it run as soon as may be, in the background."""
    await call.registry.tasks.want("gc")
    return await get_gc(call)


async def plan_gc(call: Call) -> GcPlan:
    """What a run would do now; nothing is changed. It takes as long as a run, and a copy of the database."""
    return told(GcPlan, await call.registry.gc.plan())


async def explain_gc(call: Call, digest: str) -> GcReasons:
    """What keeps a digest, or its unique beginning, from the garbage collection."""
    found = await call.registry.digests.anything(digest)
    reasons = await call.registry.gc.explain(found)
    if not reasons:
        raise Missing(f"there is no {found} here, in the trash either")
    return GcReasons(digest=str(found), reasons=reasons)
