"""The base of the stateful test: ask the registry, ask the model, and compare all that was said."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, ParamSpec, TypeVar

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition

from registry.assembly import Registry
from registry.domain.errors import RegistryError
from registry.domain.problems import Problem
from tests.model.answers import Expected, Refusal
from tests.model.content import IMMUTABLE_TAGS, REPOSITORIES, TAGS, Content, Document, digest_of
from tests.model.model import Model
from tests.model.ranges import Ranges, byte_ranges
from tests.model.rows import check_whole
from tests.model.site import WORKERS, Answer, Site
from tests.model.state import Refused

P = ParamSpec("P")
T = TypeVar("T")

# What an answer says beside its body; each must be as the model has it, absent included
TOLD = (
    "Accept-Ranges",
    "Content-Range",
    "Docker-Content-Digest",
    "Docker-Upload-UUID",
    "ETag",
    "Link",
    "Location",
    "OCI-Filters-Applied",
    "OCI-Subject",
    "OCI-Tag",
    "Range",
    "Retry-After",
)

repositories = st.sampled_from(REPOSITORIES)
contents = st.sampled_from(Content)
workers = st.integers(0, WORKERS - 1)
algorithms = st.sampled_from([*["sha256"] * 5, "sha512"])
# One that may neither move nor go keeps its whole repository where it is
tags = st.sampled_from([*TAGS * 3, *IMMUTABLE_TAGS])

# Where there is nothing, nothing happens, again and again
some_blob = precondition(lambda self: self.model.blobs)
some_repository = precondition(lambda self: self.model.repositories)
some_trash = precondition(lambda self: self.model.trash)


class Agreement(RuleBasedStateMachine):
    """An empty registry with two workers, its model, and how they are held against each other."""

    template: ClassVar[Path]
    steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.site = Site(self.template)
        self.model = Model(self.site.clock.now)
        self.worker = 0
        self.documents: list[Document] = []

    def choose(self, data: st.DataObject, likely: Sequence[T], others: st.SearchStrategy[T]) -> T:
        """Mostly what there is: else nearly all answers would be 404."""
        if likely and data.draw(st.sampled_from([True, True, True, False])):
            return data.draw(st.sampled_from(likely))
        return data.draw(others)

    def ask(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        chunked: bool = False,
        worker: int | None = None,
    ) -> Answer:
        Agreement.steps += 1
        chosen = self.worker if worker is None else worker
        answer = self.site.ask(chosen, method, target, body, headers, chunked=chunked)
        note(f"# worker {chosen}: {method} {target} {len(body)} bytes, {dict(headers or {})} -> {answer.status}")
        return answer

    def agree(self, answer: Answer, request: Callable[P, Expected], *args: P.args, **kwargs: P.kwargs) -> None:
        """The answer is what the model says to the same request."""
        try:
            expected = request(*args, **kwargs)
        except Refusal as refusal:
            expected = refusal.expected
        story = f"{answer} {answer.body[:300]!r}, expected {expected}"
        assert answer.status == expected.status, story
        for name in {*TOLD, *expected.headers}:
            assert answer.header(name) == expected.headers.get(name), f"{name}: {story}"
        if answer.method == "HEAD" or answer.status in (204, 304):
            assert answer.body == b"", story
        else:
            assert told(answer, expected) == wanted(expected), story

    def refused(self, answer: Answer, status: int, code: str) -> None:
        """A refusal that needs no model."""
        self.agree(answer, lambda: Expected(status, code=code))

    def serve(
        self,
        work: Callable[[Registry], Awaitable[T]],
        tell: Callable[[T], object],
        act: Callable[P, object],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """A service does, and answers or refuses, what the model says; `tell` puts its answer as the model has it."""
        Agreement.steps += 1
        told, expected = self._told(work, tell), _outcome(act, *args, **kwargs)
        note(f"# worker {self.worker}: {getattr(act, '__name__', act)} {args} {kwargs} -> {told}")
        assert told == expected, f"{told}, expected {expected}"

    def _told(self, work: Callable[[Registry], Awaitable[T]], tell: Callable[[T], object]) -> object:
        try:
            return tell(self.site.serve(self.worker, work))
        except (RegistryError, Problem) as error:
            return type(error).__name__

    # what several rules do

    def choose_blob(self, data: st.DataObject) -> tuple[str, str]:
        """A repository and a digest that it may hold."""
        held = [(name, digest) for name, one in self.model.repositories.items() for digest in sorted(one.blobs)]
        digests = st.builds(lambda content, algorithm: digest_of(content.value, algorithm), contents, algorithms)
        return self.choose(data, held, st.tuples(repositories, digests))

    def push_whole(self, repository: str, digest: str, data: bytes, *, chunked: bool = False) -> None:
        answer = self.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", data, chunked=chunked)
        self.agree(answer, self.model.push, repository, digest, data)

    def pull_blob(self, repository: str, digest: str, method: str = "GET", ranges: Ranges | None = None) -> Answer:
        headers = {"Range": ranges.header} if ranges else {}
        answer = self.ask(method, f"/v2/{repository}/blobs/{digest}", headers=headers)
        self.agree(answer, self.model.blob, repository, digest, is_head=method == "HEAD", ranges=ranges)
        return answer

    # what must hold at any time

    @invariant()
    def agrees(self) -> None:
        """After each step, not only at the end."""
        check_whole(self.model)
        self.site.rows.check(self.model)
        self.site.rows.check_files(self.model, everywhere=False)

    def check_disk(self) -> None:
        """D1 to D4, and no leftovers: fsck finds what was damaged behind the registry's back, and nothing else."""
        problems, notes = self.site.fsck()
        damaged = sorted(digest for digest, stored in self.model.blobs.items() if not stored.readable)
        assert sorted(_blob_in(problem) for problem in problems) == damaged, problems
        assert sorted(notes) == sorted(f"{key} belongs to no blob" for key in self.model.orphans), notes


def _outcome(act: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> object:
    try:
        return act(*args, **kwargs)
    except Refused as refused:
        return refused.why


def told(answer: Answer, expected: Expected) -> Any:
    """What the body says, in the form that `wanted` has it in."""
    if expected.code:
        errors = json.loads(answer.body)["errors"]
        assert all(error["message"] for error in errors), errors
        return [(error["code"], error["detail"]["digest"] if expected.missing else "") for error in errors]
    if expected.document is not None:
        return json.loads(answer.body)
    if expected.parts:
        return byte_ranges(answer.headers["Content-Type"], answer.body)
    return digest_of(answer.body)


def wanted(expected: Expected) -> Any:
    if expected.code:
        return [(expected.code, digest) for digest in expected.missing or [""]]
    return expected.document or expected.parts or digest_of(expected.body)


def _blob_in(problem: str) -> str:
    found = re.match(r"blob (\S+?):? ", problem)
    assert found is not None, problem
    return found[1]
