"""Acts in an order that chance seldom takes."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.model.agreement import repositories, some_blob, some_repository, tags
from tests.model.answers import Conditions
from tests.model.blobs import BlobRules
from tests.model.content import Document, index
from tests.model.lifecycle import LifecycleRules
from tests.model.manifests import ManifestRules, images, some_document
from tests.model.state import DAY, HOUR
from tests.model.upkeep import UpkeepRules

# Less than half of a lease is left, then nothing
MOST_OF_A_LEASE = 19 * HOUR


class StoryRules(BlobRules, ManifestRules, LifecycleRules, UpkeepRules):
    @some_blob
    @rule(data=st.data())
    def ask_and_collect(self, data: st.DataObject) -> None:
        """Whoever may push and was told that a blob is here finds it for a while (I2)."""
        repository, digest = self.choose_blob(data)
        self._advance(MOST_OF_A_LEASE, self.worker)
        self.pull_blob(repository, digest, "HEAD")
        self._advance(MOST_OF_A_LEASE, self.worker)
        self._collect(planned=False)
        self.pull_blob(repository, digest, "HEAD")

    @some_repository
    @rule(data=st.data(), document=images, tag=tags, known=st.booleans(), deleted=st.booleans())
    def restore_over_newer(self, data: st.DataObject, document: Document, tag: str, known: bool, deleted: bool) -> None:
        """Meanwhile the name was taken, maybe by the same content, whose manifests were blobs there."""
        name = self._repository(data)
        if known and self.documents:
            document = self._document(data, name)
        self._delete_repository(name)
        self.push_complete(name, tag, document)
        if deleted:
            self._delete_all(name, document.digest)
        entries = [key for key, one in self.model.trash.items() if one.kind == "repository"]
        if entries:
            self._restore(entries[-1], None)

    @precondition(lambda self: self._live())
    @rule(data=st.data())
    def undo_delete(self, data: st.DataObject) -> None:
        """Its blobs were deleted too, and come back with it."""
        name, digest = data.draw(st.sampled_from(self._live()))
        self._delete_all(name, digest)
        entries = [key for key, one in self.model.trash.items() if one.kind == "manifest" and one.digest == digest]
        if entries:
            self._restore(entries[-1], None)

    @some_document
    @rule(data=st.data(), repository=repositories)
    def name_otherwise(self, data: st.DataObject, repository: str) -> None:
        """What an index names was a blob and is a manifest by now: the blob is garbage."""
        child = self._document(data, repository)
        parent = index([child])
        self.push_complete(repository, parent.digest, parent)
        self._advance(2 * DAY, self.worker)
        self._collect(planned=False)
        self.push_complete(repository, child.digest, child)
        self._put(repository, parent.digest, parent)

    def _live(self) -> list[tuple[str, str]]:
        held = self.model.repositories.items()
        return [(name, digest) for name, one in held for digest, it in one.manifests.items() if it.live]

    def _delete_all(self, name: str, digest: str) -> None:
        """A manifest, then its blobs."""
        held = self.model.repositories[name].live(digest) if name in self.model.repositories else None
        self._delete(name, digest, Conditions(), {})
        for part, kind in held.needs.items() if held else ():
            if kind == "blob":
                answer = self.ask("DELETE", f"/v2/{name}/blobs/{part}")
                self.agree(answer, self.model.delete_blob, name, part)
