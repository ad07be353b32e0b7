"""Blobs: pushed whole, linked, pulled, deleted."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.model.agreement import Agreement, algorithms, contents, repositories, some_blob
from tests.model.content import Content, digest_of
from tests.model.ranges import Ranges, ranges


class BlobRules(Agreement):
    @rule(repository=repositories, content=contents, algorithm=algorithms, chunked=st.booleans())
    def push_blob(self, repository: str, content: Content, algorithm: str, chunked: bool) -> None:
        self.push_whole(repository, digest_of(content.value, algorithm), content.value, chunked=chunked)

    @some_blob
    @rule(data=st.data(), method=st.sampled_from(["GET", "GET", "HEAD"]), wanted=st.one_of(st.none(), ranges))
    def get_blob(self, data: st.DataObject, method: str, wanted: Ranges | None) -> None:
        repository, digest = self.choose_blob(data)
        self.pull_blob(repository, digest, method, wanted)

    @some_blob
    @rule(data=st.data())
    def delete_blob(self, data: st.DataObject) -> None:
        repository, digest = self.choose_blob(data)
        answer = self.ask("DELETE", f"/v2/{repository}/blobs/{digest}")
        self.agree(answer, self.model.delete_blob, repository, digest)

    @some_blob
    @rule(data=st.data(), repository=repositories)
    def mount_held(self, data: st.DataObject, repository: str) -> None:
        holder, digest = self.choose_blob(data)
        if self.model.holds(holder, digest):
            answer = self.ask("POST", f"/v2/{repository}/blobs/uploads/?mount={digest}&from={holder}")
            self.agree(answer, self.model.mount, repository, digest, holder, "")

    @precondition(lambda self: self.documents)
    @rule(data=st.data(), repository=repositories)
    def push_manifest_as_blob(self, data: st.DataObject, repository: str) -> None:
        """An index may then name it as either."""
        payload = data.draw(st.sampled_from(self.documents)).payload
        self.push_whole(repository, digest_of(payload), payload)
