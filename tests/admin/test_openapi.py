"""The document is OpenAPI 3.1, is made from the table, and the server does what it says."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from registry.admin.operation import Operation
from registry.admin.operations import OPERATIONS
from tests.support.access import basic, bearer, required, token
from tests.support.server import LiveServer

EXAMPLES = 8
LIMITLESS = required(REGISTRY_HTTP_WORKERS="1", REGISTRY_RATELIMIT_FAILURES="", REGISTRY_RATELIMIT_ADDRESSFAILURES="")
# What they ask for can't be guessed
UNLIKELY = ("add_rule", "explain_access", "roll_back", "set_my_password")
# Without an input, none can be wrong
CASES = [(operation, GenerationMode.POSITIVE) for operation in OPERATIONS]
CASES += [(one, GenerationMode.NEGATIVE) for one in OPERATIONS if "{" in one.path or one.query or one.body]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Its log is looked at in the end: no input may make it fail."""
    server = LiveServer(tmp_path_factory.mktemp("openapi"), LIMITLESS).start()
    yield server
    assert server.tracebacks() == []
    assert server.stop() == 0


@pytest.fixture(scope="module")
def document(server: LiveServer) -> dict[str, Any]:
    with urlopen(f"{server.url}/api/v1/openapi.json") as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def test_every_operation_is_in_the_document(document: dict[str, Any]) -> None:
    found = {(method.upper(), path[1:]) for path, methods in document["paths"].items() for method in methods}
    assert found == {(operation.method, operation.path) for operation in OPERATIONS}
    told = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert [operation for operation in told if not (operation["summary"] and "Needs" in operation["description"])] == []
    public = [operation["operationId"] for operation in told if operation.get("security") == []]
    assert public == ["get_openapi"]


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    used = set(re.findall(r'"#/components/(\w+)/(\w+)"', json.dumps(document)))
    there = {(kind, name) for kind in ("schemas", "responses") for name in document["components"][kind]}
    assert used == there


def test_no_schema_takes_what_it_does_not_name(document: dict[str, Any]) -> None:
    taken = [
        operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for methods in document["paths"].values()
        for operation in methods.values()
        if "requestBody" in operation
    ]
    schemas = document["components"]["schemas"]
    assert len(taken) == 13 and all(schemas[name]["additionalProperties"] is False for name in taken)


@pytest.fixture(scope="module")
def credentials(server: LiveServer) -> dict[str, str]:
    """A token: passwords are slow to refuse, and every request is sent without credentials and with wrong ones too."""
    return bearer(token(server, basic("admin"), "registry:api:*"))


@pytest.mark.parametrize(("operation", "mode"), CASES, ids=lambda value: getattr(value, "name", value))
def test_the_server_does_what_the_document_says(
    server: LiveServer,
    document: dict[str, Any],
    credentials: dict[str, str],
    operation: Operation,
    mode: GenerationMode,
) -> None:
    described = schemathesis.openapi.from_dict(document)[f"/{operation.path}"][operation.method]
    bounded = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

    @bounded
    @given(described.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case[Any]) -> None:
        answer = case.call_and_validate(
            base_url=f"{server.url}/api/v1", headers=credentials, excluded_checks=[positive_data_acceptance]
        )
        statuses.add(answer.status_code)

    statuses: set[int] = set()

    ask()
    if mode is GenerationMode.POSITIVE and "{" not in operation.path and operation.name not in UNLIKELY:
        assert operation.status in statuses
