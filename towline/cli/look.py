"""`get`: what the server knows, listed."""

import time
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from towline.cli.client import Client, connect
from towline.cli.durations import seconds
from towline.cli.look_kinds import BATCH, DEPLOYMENT, DEVICE, EVENT, GROUP
from towline.cli.output import Format, Output, show_list


class Listed(StrEnum):
    """What `get` lists."""

    DEPLOYMENTS = "deployments"
    DEVICES = "devices"
    BATCHES = "batches"
    GROUPS = "groups"
    EVENTS = "events"


def get(
    what: Listed,
    name: Annotated[
        str | None, typer.Argument(help="only of this Deployment, or this group")
    ] = None,
    output: Output = Format.TABLE,
    deployment: Annotated[str | None, typer.Option(help="the same as NAME")] = None,
    device: Annotated[str | None, typer.Option(help="only of this device")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="events of devices that are fine, and machine data, too")
    ] = False,
    since: Annotated[
        str | None, typer.Option(metavar="D", help="events of so long ago, such as 2h")
    ] = None,
    limit: Annotated[int, typer.Option(help="at most so many events", min=1, max=1000)] = 100,
) -> None:
    """List deployments, devices, batches, groups or events."""
    client, name = connect(), name or deployment
    match what:
        case Listed.DEPLOYMENTS:
            runs = list(client.pages("/deployments", "deployments", name=name))
            if not runs:
                _look_for(client, name, None)
            show_list(DEPLOYMENT, _shown(runs, output), output)
        case Listed.DEVICES:
            _get_devices(client, name, device, output)
        case Listed.BATCHES:
            batches = _batches(client, name)
            show_list(BATCH, batches if _is_data(output) else map(_batch_row, batches), output)
        case Listed.GROUPS:
            found = client.get("/groups")["groups"]
            show_list(GROUP, [each for each in found if name in (None, each["name"])], output)
        case Listed.EVENTS:
            query: dict[str, Any] = {"deployment": name, "device": device, "limit": limit}
            if since is not None:
                query["since"] = int(time.time()) - seconds(since)
            # Whoever asks for one device wants all that happened there.
            query |= {"important": not everything and device is None, "machine": everything}
            events = client.get("/events", **query)["events"]
            if not events:
                _look_for(client, name, device)
            show_list(EVENT, events, output)


def _look_for(client: Client, deployment: str | None, device: str | None) -> None:
    """Nothing was found: raises Problem when what was named does not exist, as for a typing slip.

    What is over and gone from the inventory may still have events.
    """
    if device is not None:
        client.named("devices", device)
    if deployment is not None:
        client.newest_run(deployment)


def _is_data(output: Format) -> bool:
    return output in (Format.JSON, Format.YAML)


def _get_devices(client: Client, name: str | None, device: str | None, output: Format) -> None:
    found = (
        client.parts("/devices", "devices")
        if device is None
        else iter([client.named("devices", device)])
    )
    items = [
        each
        for each in found
        if name is None or any(c["deployment"] == name for c in each["components"].values())
    ]
    if not items:
        _look_for(client, name, None)
    show_list(DEVICE, items if _is_data(output) else map(_with_state, items), output)


def _batches(client: Client, name: str | None) -> list[dict[str, Any]]:
    """Of one Deployment's newest run, with arms and medians; or of every run."""
    if name is None:
        runs: Iterable[dict[str, Any]] = client.pages("/deployments", "deployments")
    else:
        runs = [client.newest_run(name)]
    return [
        {"deployment": run["name"], "version": run["target_version"], **batch}
        for run in runs
        for batch in run["batches"]
    ]


def _batch_row(batch: Mapping[str, Any]) -> dict[str, Any]:
    size = batch["plannedSize"] if batch["size"] is None else batch["size"]
    median = batch.get("medianSeconds")
    return {
        **batch,
        "shownSize": size,
        "counts": " ".join(f"{n} {word}" for word, n in sorted(batch["counts"].items())),
        "median": None if median is None else f"{median}s",
    }


def _shown(runs: Iterable[dict[str, Any]], output: Format) -> list[dict[str, Any]]:
    """For tables a column of progress; for names each Deployment once; else as the API says."""
    match output:
        case Format.NAME:
            return list({run["name"]: run for run in runs}.values())
        case Format.TABLE | Format.WIDE:
            return [_with_progress(run) for run in runs]
    return list(runs)


def _with_progress(run: dict[str, Any]) -> dict[str, Any]:
    return {**run, "progress": f"{run['completed_devices']}/{run['total_devices']}"}


def _with_state(device: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a device with one component; several are joined."""
    components = device["components"]
    joined: dict[str, Any] = {}
    for column, key in (("runs", "current"), ("wanted", "desired")):
        joined[column] = " ".join(f"{n} {c[key] or '-'}" for n, c in components.items())
    for key in ("state", "reason"):
        joined[key] = " ".join(str(each[key]) for each in components.values() if each[key])
    return {**device, **joined}
