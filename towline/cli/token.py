"""`towline token`: admin tokens for people and scripts, each with a name and a role."""

from typing import Annotated

import typer

from towline.cli.client import checked_id, connect
from towline.cli.durations import seconds
from towline.cli.join import given_labels
from towline.cli.output import Column, Format, Kind, show_list
from towline.cli.printing import give, tell
from towline.reconciler.store.people import Role

TOKEN = Kind(
    "Token",
    "id",
    (
        Column("TOKEN", "id"),
        Column("NAME", "name"),
        Column("ROLE", "role"),
        Column("LABELS", "labels", is_wide=True),
        Column("CREATED", "created_at", is_time=True),
        Column("EXPIRES", "expires_at"),
        Column("LAST USED", "last_used_at", is_time=True),
        Column("REVOKED", "revoked_at", is_time=True),
    ),
)

app = typer.Typer(help="Let people in, and out.", no_args_is_help=True)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="who it is for, as the record will say")],
    role: Annotated[Role, typer.Option(help="what they may do; each may do all before it")],
    expires: Annotated[
        str | None, typer.Option(help="good for so long, such as 30d; default: until revoked")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="only for devices with KEY=VALUE; repeatable"),
    ] = None,
) -> None:
    """Print one admin token; it is shown this once."""
    body = {
        "name": name,
        "role": role,
        "expires_in_s": None if expires is None else seconds(expires),
        "labels": given_labels(label or []),
    }
    answer = connect().post("/tokens", **body)
    give(answer["token"])
    tell(f"its id is {answer['id']}; keep the token, it is not shown again")


@app.command("list")
def list_tokens(
    output: Annotated[
        Format, typer.Option("-o", "--output", help="table, wide, json, yaml or name")
    ] = Format.TABLE,
) -> None:
    """List admin tokens, without their secrets."""
    show_list(TOKEN, connect().get("/tokens")["tokens"], output)


@app.command("revoke")
def revoke(
    token: Annotated[str, typer.Argument(metavar="ID", help="its id, as `token list` shows it")],
    reason: Annotated[str, typer.Option("--reason", help="for the record: why")],
) -> None:
    """End an admin token for good."""
    answer = connect().post(f"/tokens/{checked_id(token)}/revoke", reason=reason)
    give(f"{answer['id']} ({answer['name']}) is revoked")
