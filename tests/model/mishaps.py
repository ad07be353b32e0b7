"""What befalls a registry: restarts and crashes, time, and bytes that change behind its back."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.model.agreement import Agreement, workers
from tests.model.site import WORKERS
from tests.model.state import DAY, DOOMED_KEEP, HOUR, LEASE, TRASH_KEEP, Damage


class MishapRules(Agreement):
    @rule(
        what=st.sampled_from(
            ["switch", "switch", "switch", "switch", "restart", "restart all", "crash", "crash all", "fsck"]
        )
    )
    def turn(self, what: str) -> None:
        """The next requests go to the other worker, now and then one that has forgotten all that it knew."""
        self.worker = (self.worker + 1) % WORKERS
        match what:
            case "restart":
                self.site.restart(self.worker)
            case "restart all":
                self.site.restart_all()
            case "crash":
                self.site.crash([self.worker])
            case "crash all":
                self.site.crash(range(WORKERS))
            case "fsck":
                self.check_disk()

    @rule(
        by=st.sampled_from([1, 13 * HOUR, 19 * HOUR, 19 * HOUR, LEASE, LEASE + 1, DOOMED_KEEP, TRASH_KEEP, 15 * DAY]),
        worker=workers,
    )
    def advance(self, by: int, worker: int) -> None:
        self._advance(by, worker)

    @precondition(lambda self: self.model.intact)
    @rule(data=st.data(), how=st.sampled_from(["lost", "short", "rotten"]))
    def damage(self, data: st.DataObject, how: Damage) -> None:
        """A blob's file vanishes behind the registry's back, or its last byte does, or its first one flips."""
        digest = data.draw(st.sampled_from(self.model.intact))
        self._damage(digest, how if self.model.blobs[digest].data else "lost")

    @precondition(lambda self: self._damaged())
    @rule(data=st.data())
    def mend(self, data: st.DataObject) -> None:
        """Somebody puts the bytes back."""
        self._damage(data.draw(st.sampled_from(self._damaged())), "")

    def _damaged(self) -> list[str]:
        return sorted(digest for digest, stored in self.model.blobs.items() if stored.damage)

    def _advance(self, by: int, worker: int) -> None:
        self.site.clock.advance(by)
        self.model.now = self.site.clock.now
        self.site.expire(worker)
        self.model.expire()

    def _damage(self, digest: str, how: Damage) -> None:
        path = self.site.rows.file_of(digest)
        path.unlink(missing_ok=True)  # an upload's staged file may be the same one
        self.model.damage(digest, how)
        data = self.model.blobs[digest].on_disk
        if data is not None:
            path.write_bytes(data)
