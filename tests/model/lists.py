"""Lists, ranges, and pushes that are refused or depend on what is there."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.model.agreement import algorithms, repositories, tags
from tests.model.content import FLAWED, Content, Document, digest_of, image
from tests.model.manifests import ManifestRules, images, some_document
from tests.model.ranges import Ranges, ranges
from tests.support.images import OCI

WRONG_SIZES = [image(Content.BRACES, [layer], wrong_size=1) for layer in (Content.EMPTY, Content.LARGE)]
counts = st.one_of(st.none(), st.integers(0, 3), st.just(10**9))


class ListRules(ManifestRules):
    @rule(repository=repositories, document=images, tag=tags)
    def push_image(self, repository: str, document: Document, tag: str) -> None:
        self._put(repository, tag, document)

    @some_document
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

    @some_document
    @rule(data=st.data(), repository=repositories)
    def push_under_a_digest(self, data: st.DataObject, repository: str) -> None:
        document, other = self._document(data, repository), self._document(data, repository)
        self._put(repository, other.digest, document)

    @rule(data=st.data(), wanted=ranges, same=st.booleans())
    def get_blob_if_range(self, data: st.DataObject, wanted: Ranges, same: bool) -> None:
        repository, digest = self.choose_blob(data)
        known = digest if same else digest_of(b"other")
        headers = {"Range": wanted.header, "If-Range": f'"{known}"'}
        answer = self.ask("GET", f"/v2/{repository}/blobs/{digest}", headers=headers)
        self.agree(answer, self.model.blob, repository, digest, is_head=False, ranges=wanted if same else None)

    @rule(repository=repositories, n=counts, last=st.one_of(st.none(), tags, st.just("zz")))
    def list_tags(self, repository: str, n: int | None, last: str | None) -> None:
        answer = self.ask("GET", f"/v2/{repository}/tags/list{_page(n, last)}")
        self.agree(answer, self.model.tags, repository, n, last)

    @rule(n=counts, last=st.one_of(st.none(), repositories))
    def list_catalog(self, n: int | None, last: str | None) -> None:
        answer = self.ask("GET", f"/v2/_catalog{_page(n, last)}")
        self.agree(answer, self.model.catalog, n, last)

    @some_document
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


def _page(n: int | None, last: str | None) -> str:
    fields = [f"n={n}"] if n is not None else []
    fields += [f"last={last}"] if last is not None else []
    return "?" + "&".join(fields) if fields else ""
