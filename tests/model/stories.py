"""Acts in an order that chance seldom takes."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.model.agreement import repositories, some_blob, some_repository, tags
from tests.model.answers import Conditions
from tests.model.blobs import BlobRules
from tests.model.content import Document, index
from tests.model.lifecycle import LifecycleRules
from tests.model.manifests import ManifestRules, images, some_document
from tests.model.state import DAY, HOUR, Damage, Kind
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
    @rule(data=st.data(), document=images, tag=tags, taken=st.booleans())
    def lose_repository(self, data: st.DataObject, document: Document, tag: str, taken: bool) -> None:
        """Its name may be taken meanwhile. It had no tags then."""
        name = self._repository(data)
        tagged = sorted(self.model.repositories[name].tags) if name in self.model.repositories else []
        self._delete_repository(name)
        lost_at = self.model.now
        self._advance(1, self.worker)
        if taken:
            self.push_complete(name, tag, document)
        self._undo("repository", None, purge=False)
        for lost in tagged[:1]:
            self._at(name, lost, lost_at)

    @precondition(lambda self: self._known())
    @rule(data=st.data(), indexed=st.booleans(), before=st.booleans(), after=st.booleans())
    def push_what_was_lost(self, data: st.DataObject, indexed: bool, before: bool, after: bool) -> None:
        """The newer repository has the same content, whose manifests were blobs there; either may have lost it."""
        name, document = data.draw(st.sampled_from(self._known()))
        if indexed:
            document = index([document])
            self._put(name, document.digest, document)
        if before:
            self._delete_all(name, document.digest)
        self._delete_repository(name)
        self._advance(1, self.worker)
        self.push_complete(name, document.digest, document)
        if after:
            self._delete_all(name, document.digest)
        self._undo("repository", None, purge=False)

    @precondition(lambda self: self._live())
    @rule(
        data=st.data(),
        signed=st.sampled_from(["", "digest", "tag"]),
        tag=tags,
        purge=st.booleans(),
    )
    def lose_manifest(self, data: st.DataObject, signed: str, tag: str, purge: bool) -> None:
        """What it needs was deleted too, and comes back with it; or nothing of it does."""
        name, digest = data.draw(st.sampled_from(self._live()))
        if signed:
            signature = index([], subject=digest)
            self._put(name, tag if signed == "tag" else signature.digest, signature)
        self._delete_all(name, digest)
        self._undo("manifest", digest, purge=purge)

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

    @precondition(lambda self: self.model.intact)
    @rule(data=st.data(), how=st.sampled_from(["lost", "short", "rotten"]), healed=st.booleans())
    def spoil(self, data: st.DataObject, how: Damage, healed: bool) -> None:
        """The scrub finds it; then a push heals it, or somebody puts the bytes back."""
        digest = data.draw(st.sampled_from(self.model.intact))
        self._damage(digest, how if self.model.blobs[digest].data else "lost")
        self._verify(digest)
        if healed:
            self.push_whole(data.draw(repositories), digest, self.model.blobs[digest].data)
        else:
            self._damage(digest, "")
            self._verify(digest)

    def _undo(self, kind: Kind, digest: str | None, *, purge: bool) -> None:
        entries = [key for key, one in self.model.trash.items() if (one.kind, one.digest) == (kind, digest)]
        if entries and purge:
            self._purge(entries[-1])
        elif entries:
            self._restore(entries[-1], None)

    def _known(self) -> list[tuple[str, Document]]:
        """Repositories and what they hold, in the trash or not."""
        return [(name, it.document) for name, one in self.model.repositories.items() for it in one.manifests.values()]

    def _live(self) -> list[tuple[str, str]]:
        held = self.model.repositories.items()
        return [(name, digest) for name, one in held for digest, it in one.manifests.items() if it.live]

    def _delete_all(self, name: str, digest: str) -> None:
        """A manifest, then what it named."""
        held = self.model.repositories[name].live(digest) if name in self.model.repositories else None
        self._delete(name, digest, Conditions(), {})
        for part, kind in held.needs.items() if held else ():
            if kind == "manifest":
                self._delete(name, part, Conditions(), {})
            else:
                answer = self.ask("DELETE", f"/v2/{name}/blobs/{part}")
                self.agree(answer, self.model.delete_blob, name, part)
