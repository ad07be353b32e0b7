"""Manifests of every kind, and tags."""

from collections.abc import Mapping, Sequence

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.model.agreement import Agreement, algorithms, contents, repositories, tags
from tests.model.answers import Conditions
from tests.model.content import Content, Document, digest_of, image, index
from tests.support.images import FLAVOURS, Flavour

flavours = st.sampled_from(list(FLAVOURS.values()))
images = st.builds(
    image,
    st.sampled_from([Content.CONFIG, Content.BRACES]),
    st.lists(st.sampled_from([Content.EMPTY, Content.ONE, Content.LARGE]), max_size=2),
    flavour=flavours,
    foreign=st.booleans(),
)
some_document = precondition(lambda self: self.documents)


class ManifestRules(Agreement):
    def __init__(self) -> None:
        super().__init__()
        self.recent: list[tuple[str, str]] = []

    @rule(repository=repositories, document=images, tag=tags)
    def push_image_with_blobs(self, repository: str, document: Document, tag: str) -> None:
        self.push_complete(repository, tag, document)

    @rule(data=st.data(), repository=repositories, blobs=st.lists(contents, max_size=1), flavour=flavours, tag=tags)
    def push_index(
        self, data: st.DataObject, repository: str, blobs: list[Content], flavour: Flavour, tag: str
    ) -> None:
        children = [
            self._document(data, repository) for _ in range(data.draw(st.integers(0, min(2, len(self.documents)))))
        ]
        self._put(repository, tag, index(children, blobs, flavour=flavour))

    @some_document
    @rule(
        data=st.data(),
        repository=repositories,
        artifact_type=st.sampled_from(["", "application/x.one", "application/x.two"]),
        annotations=st.sampled_from([{}, {"org.example.key": "value", "ключ": "значение"}]),
        is_index=st.booleans(),
        algorithm=algorithms,
    )
    def push_artifact(
        self,
        data: st.DataObject,
        repository: str,
        artifact_type: str,
        annotations: Mapping[str, str],
        is_index: bool,
        algorithm: str,
    ) -> None:
        subject = digest_of(self._document(data, repository).payload, algorithm)
        if is_index:
            document = index([], subject=subject)
        else:
            self.push_whole(repository, digest_of(b"{}"), b"{}")
            document = image(Content.BRACES, [], subject=subject, artifact_type=artifact_type, annotations=annotations)
        self._put(repository, document.digest, document)

    @some_document
    @rule(data=st.data(), repository=repositories, algorithm=algorithms, chosen=st.lists(tags, max_size=3))
    def push_by_digest(self, data: st.DataObject, repository: str, algorithm: str, chosen: list[str]) -> None:
        document = self._document(data, repository)
        self._put(repository, digest_of(document.payload, algorithm), document, chosen)

    @some_document
    @rule(data=st.data(), repository=repositories, order=st.permutations([0, 1, 1, 0]))
    def take_apart(self, data: st.DataObject, repository: str, order: list[int]) -> None:
        """An index and its child go in any order, each asked for twice."""
        child = self._document(data, repository)
        family = (index([child], subject=child.digest), child)
        self._put(repository, family[0].digest, family[0])
        for number in order:
            self._delete(repository, family[number].digest, Conditions(), {})

    @some_document
    @rule(data=st.data(), method=st.sampled_from(["GET", "GET", "HEAD"]), conditional=st.booleans())
    def get_manifest(self, data: st.DataObject, method: str, conditional: bool) -> None:
        repository, reference = self._named(data)
        etag = self._etag(data) if conditional else None
        headers = {"If-None-Match": _quoted(etag)} if etag else {}
        answer = self.ask(method, f"/v2/{repository}/manifests/{reference}", headers=headers)
        self.agree(answer, self.model.manifest, repository, reference, etag, is_head=method == "HEAD")

    @some_document
    @rule(data=st.data(), header=st.sampled_from(["", "", "If-Match", "If-None-Match"]))
    def delete_manifest(self, data: st.DataObject, header: str) -> None:
        repository, reference = self._named(data)
        self._delete(repository, reference, *self._conditions(data, header))

    def push_complete(self, repository: str, reference: str, document: Document) -> None:
        """With all that it names as blobs; manifests are no others."""
        needed = {part.digest for part in document.parts}
        for data in (*(one.value for one in Content), *(one.payload for one in self.documents)):
            if digest_of(data) in needed:
                self.push_whole(repository, digest_of(data), data)
        self._put(repository, reference, document)

    def _delete(self, repository: str, reference: str, conditions: Conditions, headers: Mapping[str, str]) -> None:
        answer = self.ask("DELETE", f"/v2/{repository}/manifests/{reference}", headers=headers)
        request = self.model.delete_manifest if ":" in reference else self.model.delete_tag
        self.agree(answer, request, repository, reference, conditions)

    def _document(self, data: st.DataObject, repository: str) -> Document:
        """A manifest that somebody has tried to push, mostly one that the repository holds."""
        held = self.model.repositories.get(repository)
        live = [one.document for one in held.manifests.values() if one.live] if held else []
        return self.choose(data, live, st.sampled_from(self.documents))

    def _named(self, data: st.DataObject) -> tuple[str, str]:
        """A repository, and a tag or a digest of a manifest that it may hold."""
        held = self.model.repositories.items()
        names = [(name, tag) for name, one in held for tag in one.tags]
        names += [(name, digest) for name, one in held for digest, it in one.manifests.items() if it.live]
        digests = st.builds(
            lambda one, algorithm: digest_of(one.payload, algorithm), st.sampled_from(self.documents), algorithms
        )
        likely = self.recent if data.draw(st.booleans()) else names
        return self.choose(data, likely, st.tuples(repositories, st.one_of(tags, digests)))

    def _etag(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(["*", *(one.digest for one in self.documents)]))

    def _conditions(self, data: st.DataObject, header: str) -> tuple[Conditions, dict[str, str]]:
        if not header:
            return Conditions(), {}
        etag = self._etag(data)
        conditions = Conditions(match=etag) if header == "If-Match" else Conditions(none_match=etag)
        return conditions, {header: _quoted(etag)}

    def _put(
        self,
        repository: str,
        reference: str,
        document: Document,
        chosen: Sequence[str] = (),
        *,
        conditions: Conditions | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if not document.flawed and document not in self.documents:
            self.documents.append(document)
        children = [part.digest for part in document.parts if part.is_child]
        self.recent = [(repository, one) for one in (document.digest, *children)]
        query = "?" + "&".join(f"tag={tag}" for tag in chosen) if chosen else ""
        answer = self.ask(
            "PUT",
            f"/v2/{repository}/manifests/{reference}{query}",
            document.payload,
            {"Content-Type": document.media_type, **(headers or {})},
        )
        self.agree(answer, self.model.put, repository, reference, document, chosen, conditions)


def _quoted(etag: str) -> str:
    return etag if etag == "*" else f'"{etag}"'
