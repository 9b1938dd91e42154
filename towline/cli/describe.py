"""`describe`: one deployment or device in full.

Devices that are fine are a count; those that failed or are silent are lines. `-o json` has all.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from towline.cli.client import connect
from towline.cli.output import Format, Output, plain_status, show_document
from towline.cli.printing import give
from towline.reconciler.lengths import about, counted

BAD = ("failed", "rolled_back")


class Described(StrEnum):
    """What `describe` shows."""

    DEPLOYMENT = "deployment"
    DEVICE = "device"


def describe(what: Described, name: str, output: Output = Format.TABLE) -> None:
    """Show one deployment or device in full."""
    is_lines = output is Format.TABLE and what is Described.DEPLOYMENT
    query = {"devices": "failing"} if is_lines else {}
    document = connect().named(f"{what}s", name, **query)
    if output is not Format.TABLE:
        show_document(document, output)
        return
    lines = _deployment if what is Described.DEPLOYMENT else _device
    for line in lines(document):
        give(line)


def _deployment(run: Mapping[str, Any]) -> Iterable[str]:
    figures = run["progress"]
    yield f"{run['name']} {run['target_version']}  {plain_status(run['status'])}"
    yield f"  health    {run['health']}"
    yield f"  reason    {' '.join(filter(None, [run['reason'], run['message']])) or '-'}"
    yield f"  commit    {run['commit'][:12]} by {run['author']}"
    yield f"  revision  {run['revision'][:12]}, turn {run['turn']}"
    yield (
        f"  devices   {figures['completed']} of {figures['total_devices']} completed,"
        f" {figures['failed']} failed, {figures['in_progress']} in progress,"
        f" {figures['pending']} pending, {figures['skipped']} skipped"
    )
    if run["drifted"]:
        yield f"  drifted   {counted(run['drifted'], 'device')} since reported another version"
    for hold in run["holds"]:
        yield from _hold(hold)
    for batch in run["batches"]:
        yield from _batch(batch)
    yield from _side_by_side(run["arms"])
    for device in run["silent"]:
        yield f"  silent    {silence(device)}"
    for device in run["devices"]:
        if device["status"] in BAD:
            message = " ".join(filter(None, [device["reason"], device["error_message"]]))
            yield f"    {device['device_id']:20} {plain_status(device['status']):15} {message}"


def _hold(hold: Mapping[str, Any]) -> Iterable[str]:
    until = f", until {hold['until']}" if hold["until"] else ""
    yield f"  held      {hold['reason']}: {hold['message']}"
    yield f"            since {hold['since']}{until}; cleared by: {hold['clearedBy']}"


def _batch(batch: Mapping[str, Any]) -> Iterable[str]:
    size = batch["plannedSize"] if batch["size"] is None else counted(batch["size"], "device")
    counts = ", ".join(f"{n} {word}" for word, n in sorted(batch["counts"].items()))
    words = [f"{plain_status(batch['state'])}, {size}", counts, _median(batch)]
    yield f"  batch     {batch['name']}: {'; '.join(filter(None, words))}"
    if batch["waitsFor"]:
        yield f"            waits for {batch['waitsFor']}"


def _median(each: Mapping[str, Any]) -> str:
    found = each.get("medianSeconds")
    return "" if found is None else f"median {found} s from grant to verification"


def _side_by_side(arms: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """An experiment: one column for each arm."""
    if not arms:
        return
    states = sorted({state for arm in arms for state in arm["counts"]})
    rows = [("arms", [str(arm["arm"]) for arm in arms])]
    rows += [(state, [str(arm["counts"].get(state, 0)) for arm in arms]) for state in states]
    medians = [arm["medianSeconds"] for arm in arms]
    rows.append(("median", ["-" if each is None else f"{each} s" for each in medians]))
    for title, cells in rows:
        yield f"  {title:12}" + "".join(f"{cell:>12}" for cell in cells)


def silence(device: Mapping[str, Any]) -> str:
    """`pi-1: silent for 3 h, last: installing 2.4.1, attempt 2`."""
    seen = device["lastSeen"]
    if seen is None:
        how_long = "never seen"
    else:
        then = datetime.fromisoformat(seen)
        how_long = f"silent for {about(int((datetime.now(UTC) - then).total_seconds()))}"
    last = f"{device['status']} {device['version']}, attempt {device['attempt']}"
    return f"{device['device_id']}: {how_long}, last: {last}"


def _device(device: Mapping[str, Any]) -> Iterable[str]:
    seen = "online" if device["online"] else "offline"
    yield f"{device['id']}  {seen}, last seen {device['lastSeen'] or 'never'}"
    yield f"  type      {device['deviceType']}"
    labels = ", ".join(f"{key}={value}" for key, value in device["labels"].items())
    yield f"  labels    {labels or '-'}"
    for name, part in device["components"].items():
        reason = f" {part['reason']}" if part["reason"] else ""
        yield (
            f"  {name:9} runs {part['current'] or '-'}, wanted {part['desired'] or '-'}:"
            f" {plain_status(part['state'] or '')}{reason}"
        )
        if part["message"]:
            yield f"            {part['message']}"
