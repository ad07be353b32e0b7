"""A short slice of the strace harness: each sync, link and unlink of the threads that make things durable."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.crash.driver import DATABASE, STORAGE
from tests.crash.scratch import scratch_folder
from tests.crash.strace_faults import Case, Trial
from tests.crash.trap import Trap
from tests.crash.zygote import Zygote
from tests.support import tools


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    tools.require("strace")
    with scratch_folder() as folder, closing(Zygote(Trap())) as zygote:
        yield Trial(folder, zygote)


@pytest.mark.parametrize(
    ("thread", "call", "fault"),
    [
        (STORAGE, "fsync", "signal=KILL"),
        (STORAGE, "link", "signal=KILL"),
        (STORAGE, "link", "error=EIO"),
        (STORAGE, "sendfile", "error=EIO"),
        (STORAGE, "unlink", "signal=KILL"),
        (DATABASE, "fdatasync", "error=EIO"),
    ],
)
def test_nothing_acknowledged_is_lost(trial: Trial, thread: str, call: str, fault: str) -> None:
    trial.run_until_clean(thread, call, fault)
    assert trial.problems == []


def test_an_untouched_run_is_clean(trial: Trial) -> None:
    promised = trial.promised
    assert not trial.run(Case(STORAGE, "link", "error=EIO", 1000))
    assert trial.problems == []
    assert trial.promised > promised


def test_the_harness_hits_what_it_aims_at(trial: Trial) -> None:
    before = trial.injected
    assert trial.run(Case(STORAGE, "link", "error=EIO", 1))
    assert trial.injected == before + 1
    assert trial.problems == []
