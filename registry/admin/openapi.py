"""The OpenAPI document, made from the table: what it says is what is checked and served."""

import re
from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec

from registry.admin.answers import PROBLEM_JSON, ProblemDetails
from registry.admin.inputs import JSON
from registry.admin.needs import NOTHING
from registry.admin.operation import Operation

Json = dict[str, Any]

_PROBLEM = {"$ref": "#/components/responses/Problem"}
_SECURITY: Json = {
    "basic": {"type": "http", "scheme": "basic", "description": "a user's name and password"},
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "a token of /auth/token for the scope registry:api:*",
    },
}


@cache
def document(operations: tuple[Operation, ...], version: str, root: str) -> Json:
    """OpenAPI 3.1."""
    shapes = [operation.answer for operation in operations if operation.answer is not None]
    shapes += [operation.body for operation in operations if operation.body is not None]
    queries = [operation.query for operation in operations if operation.query is not None]
    schemas, components = _schemas([*shapes, *queries, ProblemDetails])
    paths: Json = {}
    for operation in operations:
        path = paths.setdefault(f"/{operation.path}", {})
        path[operation.method.lower()] = _operation(operation, schemas, components)
    for query in queries:  # they stand among the parameters
        components.pop(_name_of(schemas[query]), None)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Digestry",
            "version": version,
            "description": "Users, groups, robots, grants, CI rules and the audit log. Times are RFC 3339 in UTC.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": root.rstrip("/")}],
        "security": [{"basic": []}, {"bearer": []}],
        "tags": [{"name": tag} for tag in dict.fromkeys(map(_tag, operations))],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": _SECURITY,
            "responses": {
                "Problem": {
                    "description": "what is wrong, and what to do next (RFC 9457)",
                    "content": {PROBLEM_JSON: {"schema": schemas[ProblemDetails]}},
                }
            },
        },
    }


def _schemas(shapes: Sequence[Any]) -> tuple[dict[Any, Json], Json]:
    """The schema of each shape, and the components that they refer to."""
    found, components = msgspec.json.schema_components(shapes, ref_template="#/components/schemas/{name}")
    return dict(zip(shapes, found, strict=True)), components


def _operation(operation: Operation, schemas: dict[Any, Json], components: Json) -> Json:
    query = _in_query(components[_name_of(schemas[operation.query])]) if operation.query is not None else []
    made: Json = {
        "operationId": operation.name,
        "summary": (operation.handler.__doc__ or "").rstrip("."),
        "description": f"Needs {operation.needs.about}.",
        "tags": [_tag(operation)],
        "parameters": [*_in_path(operation), *query],
        "responses": {str(operation.status): _success(operation, schemas), **_failures(operation)},
    }
    if operation.body is not None:
        made["requestBody"] = {"required": True, "content": {JSON: {"schema": schemas[operation.body]}}}
    if operation.needs is NOTHING:
        made["security"] = []
    return made


def _in_path(operation: Operation) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"{(\w+)}", operation.path)
    ]


def _in_query(query: Json) -> list[Json]:
    required = query.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": schema}
        for name, schema in query["properties"].items()
    ]


def _success(operation: Operation, schemas: dict[Any, Json]) -> Json:
    made: Json = {"description": HTTPStatus(operation.status).phrase}
    if operation.answer is not None:
        made["content"] = {JSON: {"schema": schemas[operation.answer]}}
    if operation.location:
        made["headers"] = {"Location": {"description": "where it is now", "schema": {"type": "string"}}}
    return made


def _failures(operation: Operation) -> Json:
    """The statuses that a client should reckon with; `default` is whatever else goes wrong."""
    statuses = ["400", "401", "429", "503"]
    statuses += [] if operation.needs is NOTHING else ["403"]
    statuses += ["404"] if "{" in operation.path else []
    statuses += [] if operation.method == "GET" else ["409"]
    statuses += [] if operation.body is None else ["413", "415"]
    return dict.fromkeys([*sorted(statuses), "default"], _PROBLEM)


def _tag(operation: Operation) -> str:
    return operation.path.partition("/")[0].partition(".")[0]


def _name_of(schema: Json) -> str:
    return str(schema["$ref"]).rpartition("/")[2]
