"""The OpenAPI document: what FastAPI knows of the calls, with roles, problems, shapes and examples.

A call that is not in CALLS, or has no file in `examples/`, is described without an answer; a test
sees to it that there is none.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from towline.reconciler.server.callers import Needs
from towline.reconciler.server.openapi import fleet_shapes as fleet
from towline.reconciler.server.openapi import service_shapes as service
from towline.reconciler.server.openapi import shapes
from towline.reconciler.server.openapi.monitoring import PATHS as MONITORING
from towline.reconciler.server.openapi.old_devices import PATHS as OLD_DEVICES
from towline.reconciler.server.openapi.problems import PROBLEM, problems_of

EXAMPLES = Path(__file__).parent / "examples"
REF = "#/components/schemas/{model}"
ABOUT = """Software rollouts to fleets as pull requests. docs/api.md tells the same with words.

Every call sees one organization, that of its token; what belongs to another one is 404. Everything
that fails is an RFC 9457 problem. Agents speak the protocol of docs/device-protocol.md, which is
not described here, but for the two calls of old devices."""

CALLS: dict[str, type[BaseModel]] = {
    "accept_commit": service.Accepted,
    "act_on_deployment": shapes.Acted,
    "act_on_device": shapes.Done,
    "approve_device": fleet.DeviceAdmitted,
    "check_update": fleet.Update,
    "create_deployment": shapes.Created,
    "create_device_token": fleet.DeviceToken,
    "create_join_token": service.Joining,
    "create_token": service.FreshToken,
    "delete_device": fleet.DeviceLeft,
    "deny_device": fleet.EnrolmentDenied,
    "get_batches": shapes.BatchList,
    "get_deployment": shapes.DeploymentDetail,
    "get_device": fleet.Device,
    "get_labels": fleet.Labels,
    "get_old_devices": fleet.OldDevices,
    "get_repository": service.RepositoryState,
    "healthz": service.Alive,
    "let_old_devices": fleet.OldDevices,
    "list_acts": service.DeedList,
    "list_deployments": shapes.DeploymentList,
    "list_devices": fleet.DeviceList,
    "list_enrolments": fleet.EnrolmentList,
    "list_events": service.EventList,
    "list_groups": fleet.GroupList,
    "list_targets": shapes.TargetList,
    "list_tokens": service.TokenList,
    "plan": service.PlanDocument,
    "put_labels": fleet.Labels,
    "replace_device": fleet.DeviceReplaced,
    "replay": service.ReplayDocument,
    "report_status": shapes.Done,
    "revoke_device": fleet.DeviceRevoked,
    "revoke_device_token": fleet.DeviceTokenEnded,
    "revoke_token": service.Token,
    "rotate_device_token": fleet.DeviceToken,
    "tell_deployment": shapes.DeploymentStory,
    "tell_device": fleet.DeviceStory,
}
"""What each call answers with, by its operation id."""

PATH_NAMES = {
    "deployment": ("a Deployment's name, or a `deployment_id`", "firmware-update-v2.1.0"),
    "device": ("a device's id, or its UUID", "pi-0042"),
    "token_id": ("a token's id, as the list shows it", "1a2b3c4d5e6f"),
    "verb": ("what is to be done", "pause"),
}
"""What stands in a path, and an example of it."""
OTHER_NAMES = {
    "If-Match": "the `ETag` of what was read: else, where it was changed since, 412",
    "Idempotency-Key": "the same key and body get the same answer for a day",
    "cursor": "the `next_cursor` of the part before",
    "limit": "so many at most",
    "since": "seconds since the epoch: not before",
    "until": "seconds since the epoch: before",
    "at": "seconds since the epoch: what stood then",
}


def describe(app: FastAPI) -> dict[str, Any]:
    """The document of an application."""
    made: dict[str, Any] = FastAPI.openapi(app)
    made["info"]["description"] = ABOUT
    components = made["components"]
    components["schemas"] |= _schemas()
    components["securitySchemes"] = {
        "person": {"type": "http", "scheme": "bearer", "description": "`tow_…`"},
        "oldDevice": {"type": "apiKey", "in": "header", "name": "Authorization"},
    }
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    needs = _needs_of(app)
    made["paths"] = dict(sorted((made["paths"] | MONITORING | OLD_DEVICES).items()))
    for path, method, call in _calls(made["paths"]):
        _complete(call, path, method, needs.get(call["operationId"]))
    return made


def install(app: FastAPI) -> None:
    """Let the application describe itself so; it is made once."""
    app.openapi = cache(lambda: describe(app))  # type: ignore[method-assign]


def _calls(paths: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in paths.items():
        for method, call in methods.items():
            yield path, method, call


def _schemas() -> dict[str, Any]:
    models = {*CALLS.values(), fleet.StatusWord}
    wanted = [(model, "validation") for model in sorted(models, key=str)]
    _, made = models_json_schema(wanted, ref_template=REF)  # type: ignore[arg-type]
    return {**made["$defs"], "Problem": PROBLEM}


def _needs_of(app: FastAPI) -> dict[str, Needs]:
    """What each call needs, by its operation id."""
    found = {}
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, APIRoute):
            for need in _needs(route.dependant):
                found[route.name] = need
    return found


def _needs(dependant: Dependant) -> Iterator[Needs]:
    if isinstance(dependant.call, Needs):
        yield dependant.call
    for inner in dependant.dependencies:
        yield from _needs(inner)


def _complete(call: dict[str, Any], path: str, method: str, need: Needs | None) -> None:
    name = call["operationId"]
    call["tags"] = [_tag(path)]
    if need is not None:
        call["security"] = [{"person": []}]
        call["x-role"] = need.role.value
        call["x-limited-tokens"] = need.keeps_to_devices
        words = f"{call.get('description', '')}\n\nRole {need.role} or higher."
        call["description"] = words.strip()
    for parameter in call.get("parameters", ()):
        name_of = parameter["name"]
        if parameter["in"] == "path" and name_of in PATH_NAMES:
            parameter["description"], parameter["example"] = PATH_NAMES[name_of]
        elif name_of in OTHER_NAMES:
            parameter.setdefault("description", OTHER_NAMES[name_of])
    example = example_of(name)
    if "body" in example:
        call["requestBody"]["content"]["application/json"]["example"] = example["body"]
    if name in CALLS:
        good = next(status for status in call["responses"] if status.startswith("2"))
        content = {"schema": {"$ref": REF.format(model=CALLS[name].__name__)}}
        if "answer" in example:
            content["example"] = example["answer"]
        call["responses"][good]["content"] = {"application/json": content}
    if need is not None:
        call["responses"].pop("422", None)
        call["responses"] |= problems_of(call, path, method, need.role)


def _tag(path: str) -> str:
    """The first word behind the prefix."""
    words = [word for word in path.split("/") if word not in ("", "api", "v1", "admin", "ota")]
    return "old-devices" if words[-1] in ("check-update", "status") else words[0]


@cache
def example_of(name: str) -> dict[str, Any]:
    """`body` and `answer` of a call, where there are such."""
    file = EXAMPLES / f"{name}.json"
    found: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return found
