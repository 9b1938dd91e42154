"""`towline device token`: old devices, which hold a token because they have no key."""

from typing import Annotated

import typer

from towline.cli.client import checked_id, connect
from towline.cli.join import given_labels
from towline.cli.printing import give, tell

app = typer.Typer(help="Tokens of old devices.", no_args_is_help=True)

Device = Annotated[str, typer.Argument(metavar="DEVICE", help="its id, such as pi-0042")]


@app.command("create")
def create(
    device: Device,
    device_type: Annotated[
        str | None,
        typer.Option("--type", help="what it is; puts a device into the inventory that is new"),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="for a new device")
    ] = None,
) -> None:
    """Print the token of a device that cannot verify signatures; it is shown this once."""
    body = {"device_type": device_type, "labels": given_labels(label or [])}
    answer = connect().post(f"/devices/{checked_id(device)}/token", **body)
    _show(answer["token"])


@app.command("rotate")
def rotate(device: Device) -> None:
    """Print a new token for the device; the former one ends now."""
    _show(connect().post(f"/devices/{checked_id(device)}/token/rotate")["token"])


@app.command("revoke")
def revoke(
    device: Device, reason: Annotated[str, typer.Option("--reason", help="for the record: why")]
) -> None:
    """End the device's token."""
    connect().post(f"/devices/{checked_id(device)}/token/revoke", reason=reason)
    give(f"the token of {device} is revoked")


@app.command("allow")
def allow(reason: Annotated[str, typer.Option("--reason", help="for the record: why")]) -> None:
    """Let the organization's old devices in: they are offered updates and verify no signature."""
    answer = connect().put("/old-devices", allowed=True, reason=reason)
    give(f"old devices are let in; {answer['devices']} have a token")


@app.command("forbid")
def forbid(reason: Annotated[str, typer.Option("--reason", help="for the record: why")]) -> None:
    """Let no old device in; their tokens are kept."""
    answer = connect().put("/old-devices", allowed=False, reason=reason)
    give(f"old devices are shut out; {answer['devices']} have a token")


def _show(secret: str) -> None:
    give(secret)
    tell("keep the token, it is not shown again: Authorization: TargetToken TOKEN")
