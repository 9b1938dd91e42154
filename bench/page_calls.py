"""The calls of people that are measured: lists of devices above all, with other words each time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random as Chance
from typing import Any

API, PAGE = "/api/v1/admin/ota", "/admin/edge/ota"


@dataclass(frozen=True)
class Call:
    """One kind of call."""

    kind: str
    """`page`, `filter` or `search` of devices; `other` has no figure of its own."""
    name: str
    path: str
    query: Callable[[Chance, int], Mapping[str, Any]] = lambda _, __: {}


def device_calls(kind: str, name: str, **query: Callable[[Chance, int], Any] | str) -> list[Call]:
    """The API's list and the dashboard's table; what is callable differs each time."""

    def made(chance: Chance, devices: int) -> dict[str, Any]:
        return {
            key: value(chance, devices) if callable(value) else value
            for key, value in query.items()
        }

    def on_page(chance: Chance, devices: int) -> dict[str, Any]:
        found = {_FIELDS.get(key, key): value for key, value in made(chance, devices).items()}
        trouble = [each for each in ("failing", "drift") if found.pop(each, None)]
        return found | ({"trouble": trouble[0]} if trouble else {})

    return [
        Call(kind, f"devices: {name}", f"{API}/devices", made),
        Call(kind, f"page of the fleet: {name}", f"{PAGE}/fleet", on_page),
    ]


_FIELDS = {"contains": "q", "cursor": "after"}
"""What the dashboard calls it."""


def _id(chance: Chance, devices: int) -> str:
    return f"edge-{chance.randrange(devices)}"


CALLS_OF_DEVICES: Sequence[tuple[str, str, dict[str, Any]]] = (
    ("page", "first", {}),
    ("page", "further", {"cursor": _id}),
    ("page", "backwards", {"sort": "-id", "cursor": _id}),
    ("page", "last seen first", {"sort": "-last_seen"}),
    ("page", "last seen last", {"sort": "last_seen"}),
    ("search", "part of many ids", {"contains": lambda c, _: f"{c.randrange(1000):03}"}),
    ("search", "part of few ids", {"contains": lambda c, _: f"{c.randrange(10**5):05}"}),
    ("search", "beginning", {"contains": lambda c, _: f"edge-{c.randrange(1000):03}"}),
    ("search", "whole id", {"contains": _id}),
    ("search", "nothing found", {"contains": "nothing"}),
    ("filter", "label", {"label": lambda c, _: f"site=site-{c.randrange(200)}"}),
    ("filter", "label of many", {"label": "env=env-1"}),
    ("filter", "type", {"type": "generic"}),
    ("filter", "type of nobody", {"type": "other"}),
    ("filter", "online", {"presence": "online"}),
    ("filter", "offline", {"presence": "offline"}),
    ("filter", "never seen", {"presence": "never"}),
    ("filter", "version", {"version": lambda c, _: f"0.{c.randrange(6)}.0"}),
    ("filter", "completed", {"status": "completed"}),
    ("filter", "rolled back", {"status": "rolled_back"}),
    ("filter", "failing", {"failing": "true"}),
    ("filter", "drift", {"drift": "true"}),
    ("filter", "failing of a site", {"failing": "true", "label": "site=site-7"}),
    ("filter", "offline of a site", {"presence": "offline", "label": "site=site-7"}),
)
OTHERS = (
    Call("other", "deployments", f"{API}/deployments"),
    Call("other", "deployment under way", f"{API}/deployments/half"),
    Call("other", "deployment, completed", f"{API}/deployments/whole"),
    Call(
        "other",
        "devices of a run, failing",
        f"{API}/deployments/half/devices",
        lambda _, __: {"status": "failed"},
    ),
    Call(
        "other",
        "devices of a run by beginning",
        f"{API}/deployments/half/devices",
        lambda c, _: {"begins_with": f"edge-{c.randrange(10**5)}"},
    ),
    Call("other", "batches", f"{API}/deployments/half/batches"),
    Call("other", "events of a deployment", f"{API}/events", lambda _, __: {"deployment": "half"}),
    Call(
        "other",
        "events of a device",
        f"{API}/events",
        lambda c, n: {"device": _id(c, min(n, 9999))},
    ),
    Call("other", "page of deployments", PAGE),
    Call("other", "page of a deployment", f"{PAGE}/deployments/half"),
    Call("other", "page of a device", f"{PAGE}/devices/edge-77"),
)
