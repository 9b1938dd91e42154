"""`get`, `describe` and `explain`: what the server knows, printed."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from towline.cli.client import Client, connect
from towline.cli.output import Column, Format, Kind, plain_status, show_document, show_list
from towline.cli.printing import give

DEPLOYMENT = Kind(
    "Deployment",
    "name",
    (
        Column("NAME", "name"),
        Column("VERSION", "target_version"),
        Column("STATUS", "status", is_status=True),
        Column("HEALTH", "health"),
        Column("DONE", "progress"),
        Column("REASON", "reason"),
        Column("MESSAGE", "message"),
        Column("STRATEGY", "strategy", is_wide=True),
        Column("COMMIT", "commit", is_wide=True),
        Column("ID", "id", is_wide=True),
    ),
)
DEVICE = Kind(
    "Device",
    "id",
    (
        Column("DEVICE", "id"),
        Column("ONLINE", "online"),
        Column("RUNS", "runs"),
        Column("WANTED", "wanted"),
        Column("STATE", "state", is_status=True),
        Column("REASON", "reason"),
        Column("LAST SEEN", "lastSeen"),
        Column("TYPE", "deviceType", is_wide=True),
        Column("LABELS", "labels", is_wide=True),
    ),
)
BATCH = Kind(
    "Batch",
    "name",
    (
        Column("DEPLOYMENT", "deployment"),
        Column("BATCH", "name"),
        Column("STATE", "state", is_status=True),
        Column("SIZE", "size"),
    ),
)
EVENT = Kind(
    "Event",
    "id",
    (
        Column("TIME", "at"),
        Column("EVENT", "kind"),
        Column("DEPLOYMENT", "deployment"),
        Column("DEVICE", "device"),
        Column("REASON", "reason"),
        Column("MESSAGE", "message"),
        Column("CAUSE", "cause", is_wide=True),
    ),
)

Output = Annotated[Format, typer.Option("-o", "--output", help="table, wide, json, yaml or name")]


class Listed(StrEnum):
    """What `get` lists."""

    DEPLOYMENTS = "deployments"
    DEVICES = "devices"
    BATCHES = "batches"
    EVENTS = "events"


class Described(StrEnum):
    """What `describe` shows."""

    DEPLOYMENT = "deployment"
    DEVICE = "device"


def get(
    what: Listed,
    output: Output = Format.TABLE,
    deployment: Annotated[str | None, typer.Option(help="only of this Deployment")] = None,
    device: Annotated[str | None, typer.Option(help="only of this device")] = None,
    limit: Annotated[int, typer.Option(help="at most so many events", min=1, max=1000)] = 100,
) -> None:
    """List deployments, devices, batches or events."""
    client = connect()
    match what:
        case Listed.DEPLOYMENTS:
            runs = client.pages("/deployments", "deployments", name=deployment)
            show_list(DEPLOYMENT, _shown(runs, output), output)
        case Listed.DEVICES:
            items = list(client.pages("/devices", "devices"))
            is_data = output in (Format.JSON, Format.YAML)
            show_list(DEVICE, items if is_data else [_with_state(each) for each in items], output)
        case Listed.BATCHES:
            show_list(BATCH, _batches(client, deployment), output)
        case Listed.EVENTS:
            found = client.get("/events", deployment=deployment, device=device, limit=limit)
            show_list(EVENT, found["events"], output)


def _batches(client: Client, deployment: str | None) -> list[dict[str, Any]]:
    runs = client.pages("/deployments", "deployments", name=deployment)
    return [{"deployment": run["name"], **batch} for run in runs for batch in run["batches"]]


def _shown(runs: Iterable[dict[str, Any]], output: Format) -> list[dict[str, Any]]:
    """For tables a column of progress; for names each Deployment once; else as the API says."""
    match output:
        case Format.NAME:
            return list({run["name"]: run for run in runs}.values())
        case Format.TABLE | Format.WIDE:
            return [_with_progress(run) for run in runs]
    return list(runs)


def _with_progress(run: dict[str, Any]) -> dict[str, Any]:
    return {"progress": f"{run['completed_devices']}/{run['total_devices']}", **run}


def _with_state(device: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a device with one component; several are joined."""
    components = device["components"]
    joined: dict[str, Any] = {}
    for column, key in (("runs", "current"), ("wanted", "desired")):
        joined[column] = " ".join(f"{n} {c[key] or '-'}" for n, c in components.items())
    for key in ("state", "reason"):
        joined[key] = " ".join(str(each[key]) for each in components.values() if each[key])
    return {**device, **joined}


def describe(what: Described, name: str, output: Output = Format.TABLE) -> None:
    """Show one deployment or device in full."""
    client = connect()
    document = client.named(f"{what}s", name)
    if output is not Format.TABLE:
        show_document(document, output)
    elif what is Described.DEPLOYMENT:
        _describe_deployment(document)
    else:
        _describe_device(document)


def _describe_deployment(run: Mapping[str, Any]) -> None:
    figures = run["progress"]
    give(f"{run['name']} {run['target_version']}  {plain_status(run['status'])}")
    give(f"  reason    {' '.join(filter(None, [run['reason'], run['message']])) or '-'}")
    give(f"  commit    {run['commit'][:12]} by {run['author']}")
    give(f"  revision  {run['revision'][:12]}, turn {run['turn']}")
    give(f"  devices   {figures['completed']} of {figures['total_devices']} completed,"
         f" {figures['failed']} failed, {figures['in_progress']} in progress,"
         f" {figures['pending']} pending, {figures['skipped']} skipped")  # fmt: skip
    for hold in run["holds"]:
        give(f"  held      {hold['reason']}: {hold['message']}")
    for batch in run["batches"]:
        give(
            f"  batch     {batch['name']}: {plain_status(batch['state'])}, {batch['size']} devices"
        )
    for device in run["devices"]:
        message = " ".join(filter(None, [device["reason"], device["error_message"]]))
        give(f"    {device['device_id']:20} {plain_status(device['status']):15} {message}")


def _describe_device(device: Mapping[str, Any]) -> None:
    seen = "online" if device["online"] else "offline"
    give(f"{device['id']}  {seen}, last seen {device['lastSeen'] or 'never'}")
    give(f"  type      {device['deviceType']}")
    labels = ", ".join(f"{key}={value}" for key, value in device["labels"].items())
    give(f"  labels    {labels or '-'}")
    for name, part in device["components"].items():
        reason = f" {part['reason']}" if part["reason"] else ""
        give(f"  {name:9} runs {part['current'] or '-'}, wanted {part['desired'] or '-'}:"
             f" {plain_status(part['state'] or '')}{reason}")  # fmt: skip
        if part["message"]:
            give(f"            {part['message']}")


def explain(device: str, output: Output = Format.TABLE) -> None:
    """Tell one device's story: what runs, who wanted it, what blocks."""
    story = connect().named("devices", device, "explain")
    if output is Format.TABLE:
        give(story["text"])
    else:
        show_document(story, output)
