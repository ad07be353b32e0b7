"""The table of the administrative API: router, access check, OpenAPI document and tests are made from it."""

from typing import Any
from urllib.parse import unquote

from registry.admin import (
    audit,
    digests,
    gc,
    grants,
    groups,
    me,
    quarantine,
    repositories,
    robots,
    rules,
    tags,
    trash,
    users,
)
from registry.admin.needs import (
    ADMINISTRATOR,
    CREATOR,
    KNOWN,
    NOTHING,
    ON_GIVEN_PATTERN,
    ON_PATTERN_OF_GRANT,
    ON_TAGS_IN_BODY,
    READER,
    SOME_ADMINISTRATOR,
    USER,
    on_repository,
    on_repository_of_entry,
)
from registry.admin.openapi import document
from registry.admin.operation import Call, Operation
from registry.domain.action import Action
from registry.domain.errors import Unsupported
from registry.domain.problems import Missing

ROOT = "/api/v1/"


async def get_openapi(call: Call) -> dict[str, Any]:
    """This document."""
    return document(OPERATIONS, call.registry.instance.version, ROOT)


OPERATIONS = (
    Operation("GET", "users", users.list_users, ADMINISTRATOR),
    Operation("POST", "users", users.add_user, ADMINISTRATOR, location="users/{name}", is_secret=True),
    Operation("GET", "users/{name}", users.get_user, ADMINISTRATOR),
    Operation("PATCH", "users/{name}", users.change_user, ADMINISTRATOR),
    Operation("DELETE", "users/{name}", users.delete_user, ADMINISTRATOR),
    Operation("PUT", "users/{name}/password", users.set_password, ADMINISTRATOR, is_secret=True),
    Operation("GET", "groups", groups.list_groups, ADMINISTRATOR),
    Operation("POST", "groups", groups.add_group, ADMINISTRATOR, location="groups/{name}"),
    Operation("GET", "groups/{name}", groups.get_group, ADMINISTRATOR),
    Operation("DELETE", "groups/{name}", groups.delete_group, ADMINISTRATOR),
    Operation("PUT", "groups/{name}/members/{user}", groups.add_member, ADMINISTRATOR),
    Operation("DELETE", "groups/{name}/members/{user}", groups.remove_member, ADMINISTRATOR),
    Operation("GET", "robots", robots.list_robots, KNOWN),
    Operation("POST", "robots", robots.add_robot, SOME_ADMINISTRATOR, location="robots/{name}", is_secret=True),
    Operation("GET", "robots/{name}", robots.get_robot, CREATOR),
    Operation("PATCH", "robots/{name}", robots.change_robot, CREATOR),
    Operation("DELETE", "robots/{name}", robots.delete_robot, CREATOR),
    Operation("POST", "robots/{name}/secrets", robots.add_secret, CREATOR, location="robots/{name}", is_secret=True),
    Operation("DELETE", "robots/{name}/secrets/{secret_id}", robots.revoke_secret, CREATOR),
    Operation("GET", "grants", grants.list_grants, SOME_ADMINISTRATOR),
    Operation("POST", "grants", grants.add_grant, ON_GIVEN_PATTERN, location="grants/{id}"),
    Operation("GET", "grants/{grant_id}", grants.get_grant, ON_PATTERN_OF_GRANT),
    Operation("DELETE", "grants/{grant_id}", grants.remove_grant, ON_PATTERN_OF_GRANT),
    Operation("GET", "ci-rules", rules.list_rules, ADMINISTRATOR),
    Operation("POST", "ci-rules", rules.add_rule, ADMINISTRATOR, location="ci-rules/{name}"),
    Operation("GET", "ci-rules/{name}", rules.get_rule, ADMINISTRATOR),
    Operation("DELETE", "ci-rules/{name}", rules.delete_rule, ADMINISTRATOR),
    Operation("GET", "repositories", repositories.list_repositories, READER),
    Operation("GET", "repositories/{repository}", repositories.get_repository, on_repository(Action.PULL)),
    Operation("GET", "repositories/{repository}/tags", repositories.list_tags, on_repository(Action.PULL)),
    Operation("DELETE", "repositories/{repository}", repositories.delete_repository, on_repository(Action.DELETE)),
    Operation("POST", "repositories/{repository}/rename", repositories.rename_repository, on_repository(Action.DELETE)),
    Operation("GET", "repositories/{repository}/tags/{tag}", tags.get_tag, on_repository(Action.PULL)),
    Operation("GET", "repositories/{repository}/tags/{tag}/history", tags.get_tag_history, on_repository(Action.PULL)),
    Operation("POST", "rollbacks", tags.roll_back, ON_TAGS_IN_BODY),
    Operation("GET", "trash", trash.list_trash, KNOWN),
    Operation("GET", "trash/{entry_id}", trash.get_trash_entry, on_repository_of_entry(Action.DELETE)),
    Operation("POST", "trash/{entry_id}/restore", trash.restore_trash_entry, on_repository_of_entry(Action.DELETE)),
    Operation("DELETE", "trash/{entry_id}", trash.purge_trash_entry, on_repository_of_entry(Action.ADMIN)),
    Operation("GET", "audit", audit.list_events, ADMINISTRATOR),
    Operation("GET", "access/explain", audit.explain_access, ADMINISTRATOR),
    Operation("GET", "quarantine", quarantine.list_quarantine, ADMINISTRATOR),
    Operation("GET", "digests/{digest}", digests.get_digest, READER),
    Operation("GET", "digests/{digest}/tags", digests.list_digest_tags, READER),
    Operation("GET", "digests/{digest}/manifests", digests.list_digest_manifests, READER),
    Operation("GET", "digests/{digest}/repositories", digests.list_digest_repositories, READER),
    Operation("POST", "digests/{digest}/verify", quarantine.verify_digest, ADMINISTRATOR, is_later=True),
    Operation("GET", "gc", gc.get_gc, ADMINISTRATOR),
    Operation("POST", "gc/runs", gc.run_gc, ADMINISTRATOR, is_later=True),
    Operation("GET", "gc/plan", gc.plan_gc, ADMINISTRATOR),
    Operation("GET", "gc/explain/{digest}", gc.explain_gc, ADMINISTRATOR),
    Operation("GET", "me", me.get_me, KNOWN),
    Operation("PUT", "me/password", me.set_my_password, USER, is_secret=True),
    Operation("GET", "openapi.json", get_openapi, NOTHING),
)


def find(method: str, target: str) -> tuple[Operation, dict[str, str]]:
    """The operation for a path as it was sent, and the values in the path; raise Missing, or Unsupported with Allow."""
    found = {}
    if target.startswith(ROOT):
        segments = target.removeprefix(ROOT).split("/")
        found = {operation.method: operation for operation in OPERATIONS if _fits(operation, segments)}
    if not found:
        raise Missing(f"there is nothing at this path; {ROOT}openapi.json says what there is")
    operation = found.get("GET" if method == "HEAD" else method)
    if operation is None:
        also = ["HEAD"] if "GET" in found else []
        allowed = ", ".join(sorted([*found, *also]))
        raise Unsupported("this method is not allowed here; see Allow", headers={"Allow": allowed})
    pairs = zip(operation.path.split("/"), segments, strict=True)
    return operation, {name[1:-1]: unquote(value) for name, value in pairs if name.startswith("{")}


def _fits(operation: Operation, segments: list[str]) -> bool:
    expected = operation.path.split("/")
    return len(expected) == len(segments) and all(
        segment if name.startswith("{") else name == segment for name, segment in zip(expected, segments, strict=True)
    )
