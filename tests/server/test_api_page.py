"""The page on the API tells every call there is, and the body that it shows is one."""

import json
from pathlib import Path

from fastapi import FastAPI
from starlette.routing import WebSocketRoute

from towline.reconciler.creating import DeploymentBody
from towline.reconciler.server import (
    admin,
    admin_audit,
    admin_create,
    admin_devices,
    admin_old_devices,
    admin_tokens,
    plans,
    replays,
    streams,
)

PREFIX = "/api/v1/admin/ota"
PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")


def test_every_call_stands_on_the_page() -> None:
    app = FastAPI()
    for module in (
        admin_create,
        admin_devices,
        admin,
        admin_audit,
        admin_tokens,
        admin_old_devices,
        plans,
        replays,
        streams,
    ):
        app.include_router(module.router)
    calls = {
        f"{method.upper()} {path.removeprefix(PREFIX)}"
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    }
    assert len(calls) > 15
    sockets = [each for each in streams.router.routes if isinstance(each, WebSocketRoute)]
    calls |= {each.path.removeprefix(PREFIX) for each in sockets}  # OpenAPI tells of none
    assert {call for call in calls if f"`{call}`" not in PAGE and f"`{call}?" not in PAGE} == set()


def test_the_body_on_the_page_is_one() -> None:
    body = PAGE.split("## Create", 1)[1].split("```json\n", 1)[1].split("```", 1)[0]
    assert DeploymentBody.model_validate(json.loads(body)).rollout_percentage == 20


def test_every_field_of_the_body_stands_on_the_page() -> None:
    told = PAGE.split("## Create", 1)[1].split("## Read", 1)[0]
    assert {name for name in DeploymentBody.model_fields if f"`{name}" not in told} == set()
