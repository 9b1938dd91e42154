"""`towline device`: who waits to be admitted, and who is shut out; and tokens of old devices."""

from typing import Annotated, Any

import typer

from towline.cli import device_token
from towline.cli.client import checked_id, connect
from towline.cli.join import given_labels
from towline.cli.output import Column, Format, Kind, show_list
from towline.cli.printing import give, tell

DEVICE = Kind(
    "Device",
    "id",
    (
        Column("DEVICE", "id"),
        Column("ENROLMENT", "state"),
        Column("FINGERPRINT", "fingerprint"),
        Column("TYPE", "deviceType"),
        Column("LAST SEEN", "lastSeen", is_time=True),
        Column("LABELS", "labels", is_prose=True, is_wide=True),
        Column("UUID", "uuid", is_wide=True),
    ),
)
ENROLMENT = Kind(
    "Enrolment",
    "device_id",
    (
        Column("DEVICE", "device_id"),
        Column("FINGERPRINT", "fingerprint"),
        Column("TYPE", "device_type"),
        Column("SINCE", "since", is_time=True),
        Column("FROM", "source"),
        Column("WHAT", "what", is_prose=True),
    ),
)

app = typer.Typer(help="Devices of the fleet.", no_args_is_help=True)
app.add_typer(device_token.app, name="token")

Device = Annotated[str, typer.Argument(metavar="DEVICE", help="its id, such as pi-0042")]
Fingerprint = Annotated[
    str, typer.Option("--fingerprint", help="of the key that is meant, as the device shows it")
]
Why = Annotated[str, typer.Option("--reason", help="for the record: why")]
Output = Annotated[Format, typer.Option("-o", "--output", help="table, wide, json, yaml or name")]


@app.command("list")
def list_devices(
    pending: Annotated[
        bool, typer.Option("--pending", help="those that wait for an approval")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """List devices with their keys, or the keys that wait for an approval."""
    client = connect()
    if not pending:
        show_list(DEVICE, client.parts("/devices", "devices"), output)
        return
    found = client.get("/enrolments")["enrolments"]
    is_data = output in (Format.JSON, Format.YAML)
    show_list(
        ENROLMENT, found if is_data else [each | {"what": _what(each)} for each in found], output
    )


def _what(waiting: dict[str, Any]) -> str:
    former = waiting["key_change"]
    if former is None:
        return "a new device"
    if former["fingerprint"] is None:
        return f"takes an id that is {former['state']}"
    return f"another key in the place of {former['fingerprint']} ({former['state']})"


@app.command("approve")
def approve(device: Device, fingerprint: Fingerprint, reason: Why = "") -> None:
    """Admit a device, or its new key, or one that was revoked."""
    body = {"fingerprint": fingerprint, "reason": reason}
    done = connect().post(f"/devices/{checked_id(device)}/approve", **body)
    give(f"{device} is admitted" + (" with its new key" if done["key_changed"] else ""))


@app.command("deny")
def deny(device: Device, fingerprint: Fingerprint, reason: Why = "") -> None:
    """Drop a key that waits for an approval."""
    body = {"fingerprint": fingerprint, "reason": reason}
    connect().post(f"/devices/{checked_id(device)}/deny", **body)
    give(f"{device} with {fingerprint} waits no longer")


@app.command("revoke")
def revoke(device: Device, reason: Why) -> None:
    """Shut a device out: it keeps what it runs, and is served nothing."""
    connect().post(f"/devices/{checked_id(device)}/revoke", reason=reason)
    give(f"{device} is revoked")
    tell("its key is good again by `towline device approve` with its fingerprint, or use a new key")


@app.command("label")
def label(
    device: Device,
    changes: Annotated[
        list[str], typer.Argument(metavar="KEY=VALUE|KEY-…", help="give a label, or take it away")
    ],
    reason: Why = "",
) -> None:
    """Change the labels that people give a device; those that git gives are changed in git."""
    taken = {text[:-1] for text in changes if "=" not in text and text.endswith("-")}
    given = given_labels([text for text in changes if "=" in text or not text.endswith("-")])

    def changed(found: dict[str, Any]) -> dict[str, Any]:
        own = {key: value for key, value in found["people"].items() if key not in taken}
        return {"labels": own | given, "reason": reason}

    after = connect().change(f"/devices/{checked_id(device)}/labels", changed)
    give(", ".join(f"{key}={value}" for key, value in sorted(after["labels"].items())))


@app.command("replace")
def replace(
    old: Annotated[str, typer.Argument(metavar="OLD", help="whose place it is")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="who takes it, enrolled already")],
    reason: Why,
) -> None:
    """Let another device of the same type take the place of one, which is revoked."""
    body = {"by": checked_id(new), "reason": reason}
    done = connect().post(f"/devices/{checked_id(old)}/replace", **body)
    give(f"{new} takes the place of {old}, which is revoked")
    for file in done["named_in"]:
        tell(f"{file} names {old}: change it in git")


@app.command("delete")
def delete(
    device: Device,
    reason: Why,
    purge: Annotated[
        bool, typer.Option("--purge", help="its name too: nothing but its UUID is left")
    ] = False,
) -> None:
    """Take a device out of the inventory."""
    body = {"reason": reason, "purge": purge}
    done = connect().post(f"/devices/{checked_id(device)}/delete", **body)
    give(f"{device} is {done['status']}; its UUID is {done['uuid']}")
