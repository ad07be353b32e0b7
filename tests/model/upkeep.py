"""What the keeper does, or whoever calls its services: garbage collection and scrub."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from registry.assembly import Registry
from registry.content.gc import Collected
from registry.content.scrub import Checked, Wanted
from registry.domain.names import Digest, RepositoryName
from storage.crashpoints import watch
from tests.model import garbage
from tests.model.agreement import some_blob, some_repository
from tests.model.content import NAMES, Content, digest_of
from tests.model.garbage import Freed
from tests.model.mishaps import MishapRules
from tests.model.rows import reachable, same
from tests.model.state import DAY, DOOMED_KEEP
from tests.support.registry import CALLER

PAST_EVERYTHING = 60 * DAY


class Killed(BaseException):
    """`kill -9`."""


class UpkeepRules(MishapRules):
    @some_repository
    @rule(planned=st.booleans())
    def collect(self, planned: bool) -> None:
        self._collect(planned=planned)

    @some_repository
    @rule(steps=st.integers(1, 6))
    def collect_some(self, steps: int) -> None:
        """It is stopped between two steps."""
        taken = count(1)
        self.site.serve(self.worker, lambda registry: registry.gc.run(lambda: next(taken) < steps))
        self._learn()

    @some_repository
    @rule(steps=st.integers(1, 12))
    def collect_until_killed(self, steps: int) -> None:
        with _killing("gc.", steps), suppress(Killed):
            self.site.serve(self.worker, lambda registry: registry.gc.run(_always))
        self.site.crash([self.worker])
        self._learn()

    @rule(content=st.sampled_from([Content.ONE, Content.LINE]), number=st.integers(0, 3))
    def leave_orphan(self, content: Content, number: int) -> None:
        """Bytes of an upload that lost its row, as old as the hour is."""
        algorithm, _, encoded = digest_of(content.value).partition(":")
        key = f"{algorithm}/{encoded[:2]}/{encoded}.{number:04x}{self.model.now:028x}"
        path = self.site.rows.path_of(key)
        path.write_bytes(content.value)
        os.utime(path, ns=(self.model.now * 1_000_000,) * 2)
        self.model.orphans[key] = content.value

    @precondition(lambda self: self.model.orphans)
    @rule()
    def sweep(self) -> None:
        born_before = self.model.now - garbage.ORPHAN_AGE
        old = [key for key in self.model.orphans if int(key[-28:], 16) < born_before]
        self.serve(lambda registry: registry.gc.sweep(_always), lambda done: done.orphans, self.model.sweep, old)

    # the scrub

    @some_blob
    @rule(name=st.one_of(st.none(), st.sampled_from(NAMES)))
    def verify_many(self, name: str | None) -> None:
        if name is None:
            self.serve(lambda registry: _verify(registry, Wanted()), _checked, self.model.verify_all)
        else:
            wanted = Wanted(repository=RepositoryName(name))
            self.serve(lambda registry: _verify(registry, wanted), _checked, self.model.verify_repository, name)

    @some_blob
    @rule(data=st.data())
    def verify(self, data: st.DataObject) -> None:
        self._verify(self.choose_blob(data)[1])

    @precondition(lambda self: self.model.due_for_scrub)
    @rule()
    def scrub(self) -> None:
        self.serve(lambda registry: registry.scrub.some(60), lambda more: None, self.model.scrub)

    @some_blob
    @rule(data=st.data())
    def put_first(self, data: st.DataObject) -> None:
        digest = self.choose_blob(data)[1]
        self.serve(
            lambda registry: registry.scrub.put_first(Digest(digest), CALLER),
            lambda nothing: nothing,
            self.model.put_first,
            digest,
        )

    def end_of_time(self) -> None:
        """Exact garbage: when all leases and the time in the trash are over, what is needed is left, and only that."""
        for planned in (False, True, False):
            self._advance(PAST_EVERYTHING, self.worker)
            if self.model.orphans:
                self.sweep()
            self._collect(planned=planned)
        assert not self.model.trash
        same("reachable", [(digest,) for digest in self.model.blobs], [(one,) for one in reachable(self.model)])
        self.site.rows.check(self.model)
        self.site.rows.check_files(self.model, everywhere=True)
        assert self.site.rows.query("SELECT count(*) FROM doomed") == [(0,)]

    def _verify(self, digest: str) -> None:
        wanted = Wanted(digests=[Digest(digest)])
        self.serve(lambda registry: _verify(registry, wanted), _checked, self.model.verify, digest)

    def _collect(self, *, planned: bool) -> None:
        """A plan tells what the run does, and does nothing."""
        plan = self.site.serve(self.worker, lambda registry: registry.gc.plan()) if planned else None
        self.site.rows.check_files(self.model, everywhere=False)
        done = self.site.serve(self.worker, lambda registry: registry.gc.run(_always))
        assert done.complete
        assert plan in (None, done), f"planned {plan}, done {done}"
        freed = self.model.collect()
        assert _freed(done) == freed, f"{done}, expected {freed}"

    def _learn(self) -> None:
        """How far a run came, only rows and files tell; what may not go, the model does not let go."""
        rows = self.site.rows
        self.model.collect(rows.left())
        for doom in self.model.dooms:
            if doom.at < self.model.now - DOOMED_KEEP and doom.data is not None:
                expected = sum(one.digest == doom.digest and one.data is not None for one in self.model.dooms)
                stored = self.model.blobs.get(doom.digest)
                expected += stored is not None and stored.on_disk is not None
                expected += sum(doom.digest.partition(":")[2] in key for key in self.model.orphans)
                if rows.files(doom.digest) < expected:
                    doom.data = None


@contextmanager
def _killing(points: str, hit: int) -> Iterator[None]:
    """At the `hit`-th of these crash points."""
    hits = count(1)

    def kill(name: str) -> None:
        if name.startswith(points) and next(hits) == hit:
            raise Killed

    watch(kill)
    try:
        yield
    finally:
        watch(None)


def _always() -> bool:
    return True


def _freed(done: Collected) -> Freed:
    return Freed(done.rows, done.links, done.blobs, done.doomed_bytes, done.files, done.freed_bytes)


async def _verify(registry: Registry, wanted: Wanted) -> list[Checked]:
    await registry.scrub.extent(wanted)
    return [step async for step in registry.scrub.verify(wanted, CALLER) if isinstance(step, Checked)]


def _checked(found: list[Checked]) -> list[garbage.Checked]:
    return sorted(garbage.Checked(one.digest, one.wrong.kind if one.wrong else "", one.released) for one in found)
