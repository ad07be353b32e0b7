"""Repositories that come and go, the trash, tags that are set back."""

from collections.abc import Sequence

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from registry.content import history
from registry.content.trash import Restored
from registry.domain.access import ANYBODY
from registry.domain.names import Digest, RepositoryName, Tag
from registry.domain.paging import PageRequest
from tests.model.agreement import Agreement, repositories, some_repository, some_trash, tags
from tests.model.content import NAMES, digest_of
from tests.model.past import Change, Wish
from tests.model.state import Move
from tests.model.trashed import Kept
from tests.model.trashed import Restored as Expected
from tests.support.registry import CALLER

names = st.sampled_from(NAMES)
some_past = precondition(lambda self: any(one.moves for one in self.model.repositories.values()))


class LifecycleRules(Agreement):
    @some_repository
    @rule(data=st.data())
    def delete_repository(self, data: st.DataObject) -> None:
        self._delete_repository(self._repository(data))

    @some_repository
    @rule(data=st.data(), new_name=names)
    def rename(self, data: st.DataObject, new_name: str) -> None:
        name = self._repository(data)
        self.serve(
            lambda registry: registry.repositories.rename(RepositoryName(name), RepositoryName(new_name), CALLER),
            lambda nothing: nothing,
            self.model.rename,
            name,
            new_name,
        )

    @some_trash
    @rule(repository=st.one_of(st.none(), names))
    def list_trash(self, repository: str | None) -> None:
        name = None if repository is None else RepositoryName(repository)
        self.serve(
            lambda registry: registry.trash.list(PageRequest(), ANYBODY.rights, name),
            lambda page: [entry.id for entry in page.entries],
            self.model.listed,
            repository,
        )

    @some_trash
    @rule(data=st.data(), named=st.sampled_from([False, False, True]))
    def restore(self, data: st.DataObject, named: bool) -> None:
        entry_id, new_name = self._entry(data), None
        if named:
            entry = self.model.trash.get(entry_id)
            new_name = data.draw(tags if entry and entry.kind == "tag" else names)
        self._restore(entry_id, new_name)

    @some_trash
    @rule(data=st.data())
    def purge(self, data: st.DataObject) -> None:
        self._purge(self._entry(data))

    @some_past
    @rule(data=st.data())
    def history(self, data: st.DataObject) -> None:
        name, tag = self._tag(data)
        self.serve(
            lambda registry: registry.history.of_tag(RepositoryName(name), Tag(tag), PageRequest()),
            lambda page: [Move(one.at, one.action, tag, one.old, one.new) for one in page.entries],
            self.model.history,
            name,
            tag,
        )

    @some_past
    @rule(data=st.data())
    def at(self, data: st.DataObject) -> None:
        name, tag = self._tag(data)
        self._at(name, tag, self._moment(data, name))

    @some_past
    @rule(data=st.data(), count=st.sampled_from([1, 1, 2]), preview=st.booleans())
    def roll_back(self, data: st.DataObject, count: int, preview: bool) -> None:
        wishes = [self._wish(data) for _ in range(count)]
        real = [_real(wish) for wish in wishes]
        if preview:
            self.serve(lambda registry: registry.history.preview(real, CALLER), _changes, self.model.preview, wishes)
        self.serve(lambda registry: registry.history.roll_back(real, CALLER), _changes, self.model.roll_back, wishes)

    def _delete_repository(self, name: str) -> None:
        self.serve(
            lambda registry: registry.repositories.delete(RepositoryName(name), CALLER),
            lambda entry: entry.id,
            self.model.delete_repository,
            name,
        )

    def _restore(self, entry_id: int, new_name: str | None) -> None:
        self.serve(
            lambda registry: registry.trash.restore(entry_id, CALLER, new_name),
            _restored,
            self.model.restore,
            entry_id,
            new_name,
        )

    def _purge(self, entry_id: int) -> None:
        self.serve(
            lambda registry: registry.trash.purge(entry_id, CALLER), lambda entry: None, self.model.purge, entry_id
        )

    def _at(self, name: str, tag: str, at: int) -> None:
        self.serve(
            lambda registry: registry.history.at(RepositoryName(name), Tag(tag), at), str, self.model.at, name, tag, at
        )

    def _repository(self, data: st.DataObject) -> str:
        return self.choose(data, sorted(self.model.repositories), names)

    def _entry(self, data: st.DataObject) -> int:
        """Mostly one that is listed; now and then one that went along, or is gone."""
        return self.choose(data, self.model.listed(None), st.integers(1, max(self.model.trash) + 1))

    def _tag(self, data: st.DataObject) -> tuple[str, str]:
        """A tag that a repository has, or had."""
        known = [
            (name, tag)
            for name, one in self.model.repositories.items()
            for tag in sorted({move.tag for move in one.moves})
        ]
        return self.choose(data, known, st.tuples(repositories, tags))

    def _moment(self, data: st.DataObject, name: str) -> int:
        """When something happened there, or just before it."""
        one = self.model.repositories.get(name)
        known = sorted({move.at for move in one.moves} | {at for at, _ in one.comings}) if one else []
        return data.draw(st.sampled_from([*known, self.model.now])) - data.draw(st.sampled_from([0, 0, 1]))

    def _wish(self, data: st.DataObject) -> Wish:
        name, tag = self._tag(data)
        held = self.model.repositories.get(name)
        digests = sorted(held.manifests) if held else []
        digest = st.sampled_from([*digests, digest_of(b"gone")])
        pointed = held.tags.get(tag) if held else None
        expected = data.draw(st.sampled_from([None, None, pointed, digest_of(b"gone")]))
        match data.draw(st.sampled_from(["digest", "at", "back"])):
            case "digest":
                return Wish(name, tag, digest=data.draw(digest), expected=expected)
            case "at":
                return Wish(name, tag, at=self._moment(data, name), expected=expected)
        return Wish(name, tag, expected=expected)


def _real(wish: Wish) -> history.Wish:
    return history.Wish(
        RepositoryName(wish.repository),
        Tag(wish.tag),
        digest=Digest(wish.digest) if wish.digest else None,
        at=wish.at,
        expected=Digest(wish.expected) if wish.expected else None,
    )


def _changes(changes: Sequence[history.Change]) -> list[Change]:
    return [Change(one.repository, one.tag, one.old, one.new) for one in changes]


def _restored(restored: Restored) -> Expected:
    conflicts = (Kept(one.tag, one.kept, one.restored) for one in restored.conflicts)
    return Expected(restored.repository, restored.manifests, restored.tags, tuple(conflicts))
