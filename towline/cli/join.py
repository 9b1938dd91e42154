"""`towline join create`: one line that brings a device in."""

from typing import Annotated

import typer

from towline.cli.client import connect
from towline.cli.durations import seconds
from towline.cli.exit_codes import Misused
from towline.cli.printing import give

app = typer.Typer(help="Bring devices in.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Bring devices in."""


@app.command("create")
def create(
    label: Annotated[
        list[str] | None, typer.Option("--label", help="KEY=VALUE that the device gets; repeatable")
    ] = None,
    max_uses: Annotated[int, typer.Option(help="so many devices may use it", min=1)] = 1,
    pending: Annotated[
        bool, typer.Option("--pending", help="who joins by it waits for an approval all the same")
    ] = False,
    expires: Annotated[
        str, typer.Option(help="good for so long, such as 15m; default: an hour")
    ] = "1h",
) -> None:
    """Print one join string, for one use and an hour unless more is said."""
    body = {"labels": given_labels(label or []), "max_uses": max_uses, "pending": pending}
    give(connect().post("/join-tokens", **body, expires_in_s=seconds(expires))["join"])


def given_labels(texts: list[str]) -> dict[str, str]:
    """`["region=eu"]` -> `{"region": "eu"}`; raises Misused."""
    pairs = [text.partition("=") for text in texts]
    for text, (key, equals, value) in zip(texts, pairs, strict=True):
        if not (key and equals and value):
            raise Misused(f"{text!r} is no label", remedy="write --label KEY=VALUE")
    return {key: value for key, _, value in pairs}
