"""`explain`: one device's or one Deployment's story, with the way out of whatever blocks it."""

from typing import Annotated, Any

import typer

from towline.cli.client import Client, NotFound, checked_id, connect
from towline.cli.output import Format, Output, show_document
from towline.cli.printing import give
from towline.schemas.problems import Problem


def explain(
    name: Annotated[str, typer.Argument(help="a device or a Deployment")],
    output: Output = Format.TABLE,
    device: Annotated[bool, typer.Option("--device", help="it is a device")] = False,
    deployment: Annotated[bool, typer.Option("--deployment", help="it is a Deployment")] = False,
) -> None:
    """Tell what runs, who wanted it, what blocks, and when and by what that clears."""
    client = connect()
    kinds = [kind for kind, is_it in (("devices", device), ("deployments", deployment)) if is_it]
    story = _only(name, _stories(client, kinds or ["devices", "deployments"], name))
    if output is Format.TABLE:
        give(story["text"])
    else:
        show_document(story, output)


def _stories(client: Client, kinds: list[str], name: str) -> list[dict[str, Any]]:
    found = []
    for kind in kinds:
        try:
            found.append(client.named(kind, checked_id(name), "explain"))
        except NotFound:
            continue
    return found


def _only(name: str, stories: list[dict[str, Any]]) -> dict[str, Any]:
    if not stories:
        raise Problem(
            f"there is neither a device nor a Deployment {name}",
            remedy="`towline get devices` and `towline get deployments` list them",
        )
    if len(stories) > 1:
        raise Problem(
            f"{name} is a device and a Deployment", remedy="say which: --device or --deployment"
        )
    return stories[0]
