"""Manifests of every kind, tags, and the lists that show them."""

from collections.abc import Mapping, Sequence

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.model.agreement import Agreement, algorithms, contents, repositories, tags
from tests.model.answers import Conditions
from tests.model.content import FLAWED, Content, Document, digest_of, image, index
from tests.support.images import FLAVOURS, OCI, Flavour

flavours = st.sampled_from(list(FLAVOURS.values()))
images = st.builds(
    image,
    st.sampled_from([Content.CONFIG, Content.BRACES]),
    st.lists(st.sampled_from([Content.EMPTY, Content.ONE, Content.LARGE]), max_size=2),
    flavour=flavours,
    foreign=st.booleans(),
)
WRONG_SIZES = [image(Content.BRACES, [layer], wrong_size=1) for layer in (Content.EMPTY, Content.LARGE)]
counts = st.one_of(st.none(), st.integers(0, 3), st.just(10**9))
_some_document = precondition(lambda self: self.documents)


class ManifestRules(Agreement):
    def __init__(self) -> None:
        super().__init__()
        self.recent: list[tuple[str, str]] = []

    @rule(repository=repositories, document=images, tag=tags)
    def push_image_with_blobs(self, repository: str, document: Document, tag: str) -> None:
        needed = {part.digest for part in document.parts}
        for content in Content:
            if digest_of(content.value) in needed:
                self.push_whole(repository, digest_of(content.value), content.value)
        self._put(repository, tag, document)

    @rule(repository=repositories, document=images, tag=tags)
    def push_image(self, repository: str, document: Document, tag: str) -> None:
        self._put(repository, tag, document)

    @rule(data=st.data(), repository=repositories, blobs=st.lists(contents, max_size=1), flavour=flavours, tag=tags)
    def push_index(
        self, data: st.DataObject, repository: str, blobs: list[Content], flavour: Flavour, tag: str
    ) -> None:
        children = [
            self._document(data, repository) for _ in range(data.draw(st.integers(0, min(2, len(self.documents)))))
        ]
        self._put(repository, tag, index(children, blobs, flavour=flavour))

    @_some_document
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

    @_some_document
    @rule(data=st.data(), repository=repositories, algorithm=algorithms, chosen=st.lists(tags, max_size=3))
    def push_by_digest(self, data: st.DataObject, repository: str, algorithm: str, chosen: list[str]) -> None:
        document = self._document(data, repository)
        self._put(repository, digest_of(document.payload, algorithm), document, chosen)

    @_some_document
    @rule(
        data=st.data(),
        repository=repositories,
        header=st.sampled_from(["If-Match", "If-None-Match"]),
        tag=st.one_of(st.none(), tags),
    )
    def push_if(self, data: st.DataObject, repository: str, header: str, tag: str | None) -> None:
        document = self._document(data, repository)
        held = self.model.repositories.get(repository)
        if held is not None and held.live(document.digest):  # else it may be refused for two reasons
            conditions, headers = self._conditions(data, header)
            self._put(repository, tag or document.digest, document, conditions=conditions, headers=headers)

    @rule(repository=repositories, document=st.sampled_from([*FLAWED, *WRONG_SIZES]), by_digest=st.booleans())
    def push_flawed(self, repository: str, document: Document, by_digest: bool) -> None:
        self._put(repository, document.digest if by_digest else "flawed", document)

    @_some_document
    @rule(data=st.data(), repository=repositories)
    def push_under_a_digest(self, data: st.DataObject, repository: str) -> None:
        document, other = self._document(data, repository), self._document(data, repository)
        self._put(repository, other.digest, document)

    @_some_document
    @rule(data=st.data(), repository=repositories, order=st.permutations([0, 1, 1, 0]))
    def take_apart(self, data: st.DataObject, repository: str, order: list[int]) -> None:
        """An index and its child go in any order, each asked for twice."""
        child = self._document(data, repository)
        family = (index([child], subject=child.digest), child)
        self._put(repository, family[0].digest, family[0])
        for number in order:
            self._delete(repository, family[number].digest, Conditions(), {})

    @_some_document
    @rule(data=st.data(), method=st.sampled_from(["GET", "GET", "HEAD"]), conditional=st.booleans())
    def get_manifest(self, data: st.DataObject, method: str, conditional: bool) -> None:
        repository, reference = self._named(data)
        etag = self._etag(data) if conditional else None
        headers = {"If-None-Match": _quoted(etag)} if etag else {}
        answer = self.ask(method, f"/v2/{repository}/manifests/{reference}", headers=headers)
        self.agree(answer, self.model.manifest, repository, reference, etag)

    @_some_document
    @rule(data=st.data(), header=st.sampled_from(["", "", "If-Match", "If-None-Match"]))
    def delete_manifest(self, data: st.DataObject, header: str) -> None:
        repository, reference = self._named(data)
        self._delete(repository, reference, *self._conditions(data, header))

    # lists

    @rule(repository=repositories, n=counts, last=st.one_of(st.none(), tags, st.just("zz")))
    def list_tags(self, repository: str, n: int | None, last: str | None) -> None:
        answer = self.ask("GET", f"/v2/{repository}/tags/list{_page(n, last)}")
        self.agree(answer, self.model.tags, repository, n, last)

    @rule(n=counts, last=st.one_of(st.none(), repositories))
    def list_catalog(self, n: int | None, last: str | None) -> None:
        answer = self.ask("GET", f"/v2/_catalog{_page(n, last)}")
        self.agree(answer, self.model.catalog, n, last)

    @_some_document
    @rule(
        data=st.data(),
        repository=repositories,
        algorithm=algorithms,
        types=st.lists(st.sampled_from(["application/x.one", OCI.config, "application/x.none"]), max_size=2),
        after=st.booleans(),
    )
    def list_referrers(
        self, data: st.DataObject, repository: str, algorithm: str, types: list[str], after: bool
    ) -> None:
        subjects = sorted({one.subject for one in self.documents if one.subject})
        some = st.builds(lambda one: digest_of(one.payload, algorithm), st.sampled_from(self.documents))
        subject = self.choose(data, subjects, some)
        last = self._document(data, repository).digest if after else None
        query = [f"artifactType={wanted.replace('+', '%2B')}" for wanted in types]
        query += [f"last={last}"] if last else []
        answer = self.ask("GET", f"/v2/{repository}/referrers/{subject}?{'&'.join(query)}")
        self.agree(answer, self.model.referrers, repository, subject, types, last)

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


def _page(n: int | None, last: str | None) -> str:
    fields = [f"n={n}"] if n is not None else []
    fields += [f"last={last}"] if last is not None else []
    return "?" + "&".join(fields) if fields else ""
