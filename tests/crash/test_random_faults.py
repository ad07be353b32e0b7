"""Faults of every kind at random calls, several in one piece of work: what was acknowledged stays true."""

import random
from pathlib import Path

import pytest

from registry import assembly
from registry.domain.errors import RegistryError
from storage.failure import FailureMark
from storage.filesystem import open_store
from tests.crash.scenarios import SCENARIOS, Site, lost_bytes_pushed_again
from tests.crash.scratch import scratch_folder
from tests.support.faults import Fault, FaultyStore, Seeded, faulty_sqlite

ROUNDS = 150
PROBABILITY = 0.03
# One loses bytes on purpose, and a fault would keep it from healing them
WORK = [scenario for scenario in SCENARIOS.values() if scenario is not lost_bytes_pushed_again]


@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_acknowledged_is_lost(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = Seeded(f"{seed}", PROBABILITY, tuple(Fault))
    chosen = random.Random(seed)

    def open_faulty(root: Path, mark: FailureMark) -> FaultyStore:
        return FaultyStore(open_store(root, mark), schedule, mark)

    monkeypatch.setattr(assembly, "open_store", open_faulty)
    refused = done = 0
    with faulty_sqlite(schedule), scratch_folder() as folder:
        site = Site(folder)
        await site.open()
        for serial in range(ROUNDS):
            scenario = chosen.choice(WORK)
            schedule.active = True
            try:
                await scenario(site, serial)
                done += 1
            except RegistryError:
                refused += 1
            schedule.active = False
            if site.mark.reason:
                await site.close()
                await site.open()
            assert await site.broken_promises() == [], (serial, scenario)
        assert await site.all_problems() == []
        await site.close()
    assert done and refused
