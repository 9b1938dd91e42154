"""schemathesis over the whole API: no call ends in a 500, and each answer is what is described."""

from pathlib import Path
from typing import Any, cast

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.server.changing import prepare
from tests.server.conftest import AddRun, Device, Running
from tests.server.test_admin_shapes import put_in_force


def no_bug(_context: Any, response: Any, _case: Any) -> None:
    """A 503 says that it is not ready or busy; whatever else begins with a 5 is a bug."""
    assert response.status_code < 500 or response.status_code == 503, response.text


EXAMPLES = 8
"""Of each call, as it is described and as it is not."""
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
CHECKS = [
    no_bug,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
KNOWN = {"deployment": "hello", "device": "pi-0001"}
"""Else every call would end at an id that nobody has."""
WITHOUT_END = "/stream"
SETTINGS = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_no_call_is_too_much_for_the_server(
    server: Running, enrolled: Device, add_run: AddRun, tmp_path: Path
) -> None:
    prepare(server, enrolled, add_run)
    put_in_force(server)
    with requests.Session() as session:  # what stays open would hold up the end
        session.trust_env = False
        session.headers.update(server.admin())
        schema = schemathesis.openapi.from_dict(server.client.get("/api/openapi.json").json())
        tried = set()
        for found in schema.get_all_operations():
            operation: Any = cast(Any, found).ok()
            if not operation.path.endswith(WITHOUT_END):
                # What takes nothing cannot be called in a wrong way.
                takes_something = operation.body or any(operation.iter_parameters())
                for mode in MODES if takes_something else MODES[:1]:
                    fuzz(server.url, session, tmp_path / "data" / "tls.crt", operation, mode)
                tried.add(operation.label)
    assert len(tried) > 30


def fuzz(
    url: str, session: requests.Session, ca: Path, operation: Any, mode: GenerationMode
) -> None:
    """Some calls of one kind."""

    @SETTINGS
    @given(case=operation.as_strategy(generation_mode=mode), is_known=st.booleans())
    def attempt(case: Any, is_known: bool) -> None:
        if is_known and case.path_parameters:
            names = {name: KNOWN[name] for name in case.path_parameters if name in KNOWN}
            case.path_parameters = dict(case.path_parameters) | names
        response = case.call(base_url=url, session=session, verify=str(ca))
        case.validate_response(response, checks=CHECKS)

    attempt()
