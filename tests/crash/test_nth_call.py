"""Every call of the blob store, every statement and COMMIT fails once: nobody is lied to, and the next try succeeds.

"Fail the n-th call until a run ends clean", as SQLite tests itself.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registry import assembly
from registry.domain.errors import BlobUnreadable, BlobUploadUnknown, DigestInvalid, RegistryError, Unavailable
from storage.failure import FailureMark
from storage.filesystem import open_store
from tests.crash.scenarios import SCENARIOS, Scenario, Site, lost_bytes_pushed_again
from tests.crash.scratch import scratch_folder
from tests.support.faults import Fault, FaultyStore, Nth, faulty_sqlite
from tests.support.registry import DAY

FAULTS = (Fault.ERROR, Fault.FULL, Fault.BUSY, Fault.SYNC, Fault.AMBIGUOUS, Fault.SHORT, Fault.CORRUPT)
# What a client hears instead of 503 when its staged bytes can't be what they were
REFUSALS: dict[Fault, tuple[type[RegistryError], ...]] = {
    Fault.SHORT: (Unavailable, BlobUploadUnknown),
    Fault.CORRUPT: (Unavailable, DigestInvalid),
}
LONGEST = 200


@pytest.fixture
def schedule(monkeypatch: pytest.MonkeyPatch) -> Nth:
    schedule = Nth()

    def open_faulty(root: Path, mark: FailureMark) -> FaultyStore:
        return FaultyStore(open_store(root, mark), schedule, mark)

    monkeypatch.setattr(assembly, "open_store", open_faulty)
    return schedule


@pytest.fixture
async def site(schedule: Nth) -> AsyncIterator[Site]:
    with faulty_sqlite(schedule), scratch_folder() as folder:
        site = Site(folder)
        await site.open()
        yield site
        await site.close()


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
async def test_each_call_fails_once(scenario: Scenario, site: Site, schedule: Nth) -> None:
    serial = 0
    for fault in FAULTS:
        for number in range(1, LONGEST):
            serial += 1
            failed = await fail_once(scenario, site, schedule, serial, number, fault)
            if failed is None:
                break
        else:
            pytest.fail(f"{fault}: no run ended clean")
        assert await site.all_problems() == [], fault
    await site.close()
    await site.open()
    assert await site.all_problems() == []
    site.clock.advance(2 * DAY)
    await site.registry.uploads.expire()
    assert list((site.folder / "blobs" / "staging").iterdir()) == []


async def fail_once(
    scenario: Scenario, site: Site, schedule: Nth, serial: int, number: int, fault: Fault
) -> str | None:
    """Which call failed; None when the run has fewer calls than `number`."""
    schedule.arm(number, fault)
    refusal = None
    try:
        await scenario(site, serial)
    except RegistryError as error:
        refusal = error
    finally:
        schedule.disarm()
    failed = schedule.failed
    case = f"{fault} at call {number}, {failed}"
    if refusal is not None:
        assert failed is not None, case
        allowed = (BlobUnreadable,) if failed == "open" else REFUSALS.get(fault, (Unavailable,))
        assert isinstance(refusal, allowed), (case, refusal)
    if site.mark.reason:
        await site.close()
        await site.open()
    assert await site.broken_promises() == [], case
    if fault is Fault.AMBIGUOUS and scenario is not lost_bytes_pushed_again:
        # The next try might heal what this one broke
        assert await site.fsck(deep=False) == [], case
    await scenario(site, serial)
    assert await site.broken_promises() == [], case
    return failed
