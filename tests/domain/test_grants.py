"""Patterns, and what a set of grants allows, against the plainest way to say it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.action import VERBS, Action
from registry.domain.grants import ALL_RIGHTS, CONTENT_RIGHTS, Grant, Pattern, Rights, parse_subject, parse_verbs
from registry.domain.problems import Invalid

components = st.sampled_from(["a", "b", "ab", "a-b", "a.b", "team"])
names = st.lists(components, min_size=1, max_size=4).map("/".join)
patterns = st.one_of(
    names, st.tuples(names, st.sampled_from(["/*", "/**"])).map("".join), st.sampled_from(["*", "**"])
).map(Pattern.parse)
verbs = st.frozensets(st.sampled_from(VERBS), min_size=1)
grants = st.lists(st.builds(Grant, st.just("user:x"), patterns, verbs), max_size=6)


def matches_plainly(pattern: Pattern, name: str) -> bool:
    wanted, parts = pattern.text.split("/"), name.split("/")
    if wanted[-1] == "**":
        return parts[: len(wanted) - 1] == wanted[:-1] and len(parts) >= len(wanted)
    if wanted[-1] == "*":
        return parts[:-1] == wanted[:-1]
    return parts == wanted


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("team/app", "team/app", True),
        ("team/app", "team/app/x", False),
        ("team/*", "team/app", True),
        ("team/*", "team", False),
        ("team/*", "team/app/x", False),
        ("team/**", "team/app/x", True),
        ("team/**", "team", False),
        ("team/**", "teams/app", False),
        ("team/**", "team-a/app", False),
        ("*", "app", True),
        ("*", "team/app", False),
        ("**", "team/app", True),
    ],
)
def test_whole_components(pattern: str, name: str, matches: bool) -> None:
    assert Pattern.parse(pattern).matches(name) is matches


@pytest.mark.parametrize(
    "text",
    ["", "/", "te*", "team/a*", "*/app", "**/app", "team/***", "Team/**", "team//*", "/team/*", "a" * 256, "a:b"],
)
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(Invalid):
        Pattern.parse(text)


@given(patterns, names)
def test_patterns_match_as_said(pattern: Pattern, name: str) -> None:
    assert pattern.matches(name) is matches_plainly(pattern, name)


@given(patterns, patterns, names)
def test_covering_is_matching_all_that_the_other_matches(one: Pattern, other: Pattern, name: str) -> None:
    if one.covers(other) and other.matches(name):
        assert one.matches(name)


@given(grants, names, st.sampled_from(VERBS))
def test_rights_are_the_union_of_the_grants(held: list[Grant], name: str, verb: Action) -> None:
    expected = any(grant.gives(verb) and matches_plainly(grant.pattern, name) for grant in held)
    assert Rights(held).allow(verb, name) is expected


@given(grants, grants, names, st.sampled_from(VERBS))
def test_rights_within_others_are_in_both(held: list[Grant], limit: list[Grant], name: str, verb: Action) -> None:
    both = Rights(held).allow(verb, name) and Rights(limit).allow(verb, name)
    assert Rights(held, within=Rights(limit)).allow(verb, name) is both


@given(grants, names, st.sampled_from(VERBS))
def test_every_allowed_name_lies_in_a_range(held: list[Grant], name: str, verb: Action) -> None:
    rights = Rights(held)
    ranges = rights.ranges(verb)
    assert ranges == sorted(ranges)
    assert all(before[1] < after[0] for before, after in pairwise(ranges))
    if rights.allow(verb, name):
        assert any(start <= name < end for start, end in ranges)
        assert rights.anywhere(verb)


@given(grants, patterns, names, st.sampled_from(VERBS))
def test_a_pattern_is_allowed_only_with_all_its_names(
    held: list[Grant], pattern: Pattern, name: str, verb: Action
) -> None:
    rights = Rights(held)
    if rights.allow_pattern(verb, pattern) and pattern.matches(name):
        assert rights.allow(verb, name)


def test_admin_gives_every_verb_and_no_verb_gives_another() -> None:
    for verb in VERBS:
        rights = Rights([Grant("user:x", Pattern("**"), frozenset({verb}))])
        assert {other for other in VERBS if rights.allow(other, "a/b")} == (
            set(VERBS) if verb is Action.ADMIN else {verb}
        )


def test_open_modes() -> None:
    assert ALL_RIGHTS.allow(Action.ADMIN, "a/b")
    assert CONTENT_RIGHTS.allow(Action.DELETE, "a/b")
    assert not CONTENT_RIGHTS.anywhere(Action.ADMIN)


@pytest.mark.parametrize(
    "text",
    ["user:alice", "user:Al.B@example.com", "group:dev-ops", "robot:ci.1", "ci:deploy", "authenticated", "anonymous"],
)
def test_subjects(text: str) -> None:
    assert parse_subject(text) == text


@pytest.mark.parametrize(
    "text", ["alice", "user:", "user:al ice", "users:alice", "anonymous:", "user:a:b", "operator", ""]
)
def test_what_is_no_subject(text: str) -> None:
    with pytest.raises(Invalid):
        parse_subject(text)


@pytest.mark.parametrize("words", [[], ["read"], ["pull", "connect"], ["*"]])
def test_what_is_no_verb(words: list[str]) -> None:
    with pytest.raises(Invalid):
        parse_verbs(words)
