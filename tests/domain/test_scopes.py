"""Scopes: their grammar (A-06), and what a token is for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.action import Action
from registry.domain.errors import RequestInvalid
from registry.domain.scopes import SCOPES_LIMIT, Scope, TokenScope, needed, parse_scopes


def scope(text: str) -> Scope:
    (found,) = parse_scopes([text])
    return found


@pytest.mark.parametrize(
    ("text", "kind", "name", "actions"),
    [
        ("repository:a/b:pull", "repository", "a/b", {"pull"}),
        ("repository:a/b:pull,push,*,delete,admin", "repository", "a/b", {"pull", "push", "*", "delete", "admin"}),
        ("repository(plugin):a/b:pull", "repository", "a/b", {"pull"}),
        ("repository:localhost:5000/a/b:pull", "repository", "localhost:5000/a/b", {"pull"}),
        ("registry:catalog:*", "registry", "catalog", {"*"}),
        ("repository:a/b:", "repository", "a/b", set()),
    ],
)
def test_a06_scopes(text: str, kind: str, name: str, actions: set[str]) -> None:
    assert scope(text) == Scope(kind, name, frozenset(actions))


@pytest.mark.parametrize(
    "text",
    [
        "repository",
        "repository:a/b",
        ":a/b:pull",
        "repository::pull",
        "repository:a/b:PULL",
        "repository:a/b:pull,",
        "repository():a/b:pull",
        "repository:a/b:pull;push",
        "repo sitory:a:pull",
    ],
)
def test_a06_malformed(text: str) -> None:
    with pytest.raises(RequestInvalid):
        parse_scopes([text])


def test_a06_a_thousand_scopes() -> None:
    assert len(parse_scopes([" ".join(["repository:a:pull"] * SCOPES_LIMIT)])) == SCOPES_LIMIT
    for values in (["repository:a:pull"] * 1000, [" ".join(["repository:a:pull"] * 1000)]):
        with pytest.raises(RequestInvalid):
            parse_scopes(values)


def test_several_in_one_value() -> None:
    assert [str(found) for found in parse_scopes(["repository:a:push,pull repository:b:pull", ""])] == [
        "repository:a:pull,push",
        "repository:b:pull",
    ]


@given(st.text(max_size=60))
def test_whatever_comes_is_a_scope_or_refused(text: str) -> None:
    try:
        parse_scopes([text])
    except RequestInvalid:
        return


@pytest.mark.parametrize(
    ("action", "needs"),
    [
        (Action.PULL, "repository:a/b:pull"),
        (Action.PUSH, "repository:a/b:pull,push"),
        (Action.DELETE, "repository:a/b:delete"),
        (Action.LIST, "registry:catalog:*"),
        (Action.CONNECT, ""),
    ],
)
def test_what_a_challenge_asks_for_is_what_the_action_needs(action: Action, needs: str) -> None:
    assert needed(action, "a/b") == needs
    if needs:
        assert TokenScope.of(parse_scopes([needs]), []).covers(action, "a/b")


def test_a07_a_token_for_one_repository_is_for_no_other() -> None:
    token = TokenScope.of([scope("repository:a/b:pull,push")], [scope("repository:a/b:delete")])
    assert token.covers(Action.PULL, "a/b")
    assert token.covers(Action.OVERWRITE, "a/b")
    assert token.was_refused(Action.DELETE, "a/b")
    for other in ("a", "a/b/c", "b"):
        assert not any(token.covers(action, other) for action in Action)
    assert not token.covers(Action.LIST, "")
    assert not token.covers(Action.ADMIN, "")
