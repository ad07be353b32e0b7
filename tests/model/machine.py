"""The stateful test (reliability d-4): two workers on one folder against a model of the spec."""

from collections.abc import Mapping

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.model.agreement import Agreement, workers
from tests.model.content import digest_of
from tests.model.manifests import ManifestRules
from tests.model.ranges import Ranges, ranges
from tests.model.site import WORKERS
from tests.model.uploads import UploadRules

HOUR = 3_600_000


class BlobRules(Agreement):
    @rule(data=st.data(), method=st.sampled_from(["GET", "GET", "HEAD"]), wanted=st.one_of(st.none(), ranges))
    def get_blob(self, data: st.DataObject, method: str, wanted: Ranges | None) -> None:
        repository, digest = self.choose_blob(data)
        self.pull_blob(repository, digest, method, wanted)

    @rule(data=st.data(), wanted=ranges, same=st.booleans())
    def get_blob_if_range(self, data: st.DataObject, wanted: Ranges, same: bool) -> None:
        repository, digest = self.choose_blob(data)
        known = digest if same else digest_of(b"other")
        headers = {"Range": wanted.header, "If-Range": f'"{known}"'}
        answer = self.ask("GET", f"/v2/{repository}/blobs/{digest}", headers=headers)
        self.agree(answer, self.model.blob, repository, digest, is_head=False, ranges=wanted if same else None)

    @rule(data=st.data())
    def delete_blob(self, data: st.DataObject) -> None:
        repository, digest = self.choose_blob(data)
        answer = self.ask("DELETE", f"/v2/{repository}/blobs/{digest}")
        self.agree(answer, self.model.delete_blob, repository, digest)


class RegistryMachine(UploadRules, BlobRules, ManifestRules):
    """All rules, what befalls a registry, and what must hold when an example ends."""

    @rule(what=st.sampled_from(["switch", "switch", "switch", "switch", "restart", "restart all", "fsck"]))
    def turn(self, what: str) -> None:
        """The next requests go to the other worker, now and then one that has forgotten all that it knew."""
        self.worker = (self.worker + 1) % WORKERS
        if what == "restart":
            self.site.restart(self.worker)
        elif what == "restart all":
            self.site.restart_all()
        elif what == "fsck":
            self.check_disk()

    @rule(hours=st.sampled_from([1, 12, 23, 24, 25]), worker=workers)
    def advance(self, hours: int, worker: int) -> None:
        self.site.clock.advance(hours * HOUR)
        self.model.now = self.site.clock.now
        self.site.expire(worker)
        self.model.expire()

    @precondition(lambda self: self.model.intact)
    @rule(data=st.data(), truncate=st.booleans())
    def damage(self, data: st.DataObject, truncate: bool) -> None:
        """A blob's file vanishes behind the registry's back, or its last byte does."""
        digest = data.draw(st.sampled_from(self.model.intact))
        path, stored = self.site.file_of(digest), self.model.blobs[digest].data
        path.unlink()
        if truncate and stored:
            path.write_bytes(stored[:-1])
        self.model.damage(digest, "short" if truncate and stored else "lost")

    def teardown(self) -> None:
        try:
            self._pull_everything()
            self.check_disk()
            self.check_rows()
        finally:
            self.site.close()

    def _pull_everything(self) -> None:
        for name, repository in self.model.repositories.items():
            self.agree(self.ask("GET", f"/v2/{name}/tags/list"), self.model.tags, name, None, None)
            for digest, held in repository.manifests.items():
                if held.live:
                    answer = self.ask("GET", f"/v2/{name}/manifests/{digest}")
                    self.agree(answer, self.model.manifest, name, digest)
                    self._pull_parts(name, held.needs)

    def _pull_parts(self, name: str, needs: Mapping[str, str]) -> None:
        """A manifest that can be read pulls completely, but for what was damaged behind the registry's back."""
        for digest, kind in needs.items():
            if kind == "manifest":
                answer = self.ask("GET", f"/v2/{name}/manifests/{digest}")
                assert (answer.status, digest_of(answer.body)) == (200, digest), answer
            else:
                intact = not self.model.blobs[digest].damage
                assert (self.pull_blob(name, digest).status == 200) == intact
