"""The API describes itself: every call, with examples that are what they say, and a page of it."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from tests.server.changing import prepare
from tests.server.conftest import AddRun, Device, Running
from tests.server.described import application_at
from tests.server.test_admin import API
from tests.server.test_admin_shapes import put_in_force
from tests.server.visiting import Page
from towline.reconciler.server.desk import Desk, Desks
from towline.reconciler.server.openapi.document import CALLS, EXAMPLES
from towline.reconciler.store.engine import Store

JSON, PROBLEM = "application/json", "application/problem+json"
WITHOUT_ANSWER = {"stream_events"}
"""It never ends."""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """It needs no store."""
    store: Any = Store.__new__(Store)
    desks = Desks(store, lambda name: Desk(name, store, 300, lambda: None, tuple, None, None))
    made: dict[str, Any] = application_at(desks).openapi()
    return made


def calls(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for methods in document["paths"].values():
        for call in methods.values():
            yield call["operationId"], call


def check(document: dict[str, Any], schema: dict[str, Any], value: Any, what: str) -> None:
    """`value` is what the schema of the document says."""
    whole = {**schema, "components": document["components"]}
    validator = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
    errors = [
        f"{what}: {error.instance_path}: {error.message}" for error in validator.iter_errors(value)
    ]
    assert not errors, errors


def test_every_call_is_described_with_its_answer_and_its_problems(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    names = [name for name, _ in calls(document)]
    assert len(names) == len(set(names)) > 30
    for name, call in calls(document):
        assert call["description"], name
        assert call["tags"], name
        if name not in WITHOUT_ANSWER:
            assert name in CALLS, f"openapi/document.py: CALLS lacks {name}"
            assert (EXAMPLES / f"{name}.json").is_file(), f"openapi/examples lacks {name}.json"
        if name != "healthz":
            assert {"401", "503"} & set(call["responses"]), name
        for status, answer in call["responses"].items():
            if not status.startswith("2"):
                assert list(answer["content"]) == [PROBLEM], (name, status)
    assert {file.stem for file in EXAMPLES.iterdir()} <= set(names), "an example of no call"


def test_every_example_is_what_its_schema_says(document: dict[str, Any]) -> None:
    for name, call in calls(document):
        parts = {"body": call.get("requestBody"), **call["responses"]}
        for status, part in parts.items():
            for kind, content in (part or {}).get("content", {}).items():
                if name in WITHOUT_ANSWER and status == "200":
                    continue
                assert "example" in content, f"{name} {status} {kind} has no example"
                check(document, content["schema"], content["example"], f"{name} {status}")
        for parameter in call.get("parameters", ()):
            if parameter["in"] == "path":
                check(document, parameter["schema"], parameter["example"], name)


def test_an_example_that_is_wrong_is_found(document: dict[str, Any]) -> None:
    (call,) = (call for name, call in calls(document) if name == "get_device")
    content = call["responses"]["200"]["content"][JSON]
    wrong: list[dict[str, Any]] = [
        {"online": "yes"},
        {"components": {"system": {}}},
        {"lastSeen": "yesterday"},
    ]
    for change in wrong:
        with pytest.raises(AssertionError):
            check(document, content["schema"], content["example"] | change, "get_device")


def test_real_answers_are_what_is_described(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    prepare(server, enrolled, add_run)
    put_in_force(server)
    document = server.client.get("/api/openapi.json").json()
    where = {"deployment": "hello", "device": "pi-0001"}
    for path, methods in document["paths"].items():
        call = methods.get("get")
        if call is None or not path.startswith(API) or call["operationId"] in WITHOUT_ANSWER:
            continue
        for deployment in ("hello", "later"):
            url = path.format(**where | {"deployment": deployment})
            answer = server.client.get(url, headers=server.admin())
            assert answer.status_code == 200, answer.text
            schema = call["responses"]["200"]["content"][JSON]["schema"]
            check(document, schema, answer.json(), url)


def test_the_page_tells_every_call_and_loads_nothing_from_afar(server: Running) -> None:
    answer = server.client.get("/api/docs")
    page = Page(answer)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "script" not in answer.headers["content-security-policy"]
    assert not [each for each in page.elements if each.tag in ("script", "style", "img")]
    assert not [each for each in page.elements if "style" in each.attributes]
    for element in page.elements:
        for name in ("href", "src"):
            assert element.attributes.get(name, "/").startswith(("/", "#"))
    ids = {each.attributes["id"] for each in page.elements if "id" in each.attributes}
    document = server.client.get("/api/openapi.json").json()
    assert {name for name, _ in calls(document)} <= ids
    assert server.client.get("/admin/edge/ota/static/style.css").status_code == 200
