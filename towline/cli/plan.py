"""`towline plan`: what a merge would do, read before it happens."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from towline.cli import plan_sources
from towline.cli.exit_codes import ExitCode
from towline.cli.plan_commits import Asked, CommitFiles, files_at, files_on_disk, read_words
from towline.cli.plan_markdown import markdown
from towline.cli.printing import give, tell
from towline.cli.settings import Settings, load_fleet
from towline.reconciler.plan_text import text
from towline.schemas.problems import Problem


class PlanFormat(StrEnum):
    """`-o` of `plan`."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def plan(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[BASE] [HEAD] [NAME]...",
            help="commits to compare (default: what is in force, and HEAD), then Deployments",
        ),
    ] = None,
    server: Annotated[
        bool, typer.Option("--server", help="ask the server; this is the default")
    ] = False,
    store: Annotated[
        str | None, typer.Option(metavar="FILE|URL", help="plan here over a server's store")
    ] = None,
    inventory: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="plan here over `towline get devices -o json`"),
    ] = None,
    worktree: Annotated[
        bool, typer.Option("--worktree", help="what lies on the disk instead of HEAD")
    ] = False,
    output: Annotated[
        PlanFormat, typer.Option("-o", "--output", help="text, json or markdown")
    ] = PlanFormat.TEXT,
    names: Annotated[bool, typer.Option("--names", help="name the devices")] = False,
    detailed_exitcode: Annotated[
        bool,
        typer.Option("--detailed-exitcode", help="0 nothing to do, 1 an error, 2 changes"),
    ] = False,
    record: Annotated[
        bool, typer.Option("--record", help="keep the counts at the server (role planner)")
    ] = False,
) -> None:
    """Tell what a merge would do: batches, devices, skips, risks."""
    if sum([server, store is not None, inventory is not None]) > 1:
        raise typer.BadParameter("--server, --store and --inventory exclude each other")
    if record and (store or inventory):
        raise typer.BadParameter("--record keeps the counts at the server: use --server")
    settings = load_fleet()
    asked = read_words(settings, words or [])
    head = files_on_disk(settings) if worktree else files_at(settings, asked.head)
    document = _made(settings, asked, head, store, inventory, names=names, record=record)
    _refuse_unknown(asked, document)
    _show(document, output)
    raise typer.Exit(_code(document, is_detailed=detailed_exitcode))


def _made(
    settings: Settings,
    asked: Asked,
    head: CommitFiles,
    store: str | None,
    inventory: Path | None,
    *,
    names: bool,
    record: bool,
) -> dict[str, Any]:
    if store is not None:
        return plan_sources.from_store(settings, store, asked, head, names=names)
    if inventory is not None:
        return plan_sources.from_inventory(settings, inventory, asked, head, names=names)
    base = files_at(settings, asked.base) if asked.base else None
    document = plan_sources.from_server(asked, head, base, names=names, record=record)
    if record:
        kept = ", ".join(document["recorded"])
        tell(f"recorded: {kept}" if kept else "nothing was recorded")
    return document


def _refuse_unknown(asked: Asked, document: dict[str, Any]) -> None:
    """A name that is in neither commit is a slip, never an empty plan."""
    known = {each["name"] for each in document["deployments"]}
    unknown = sorted(set(asked.names) - known)
    if unknown and not document["errors"]:
        raise Problem(
            f"there is no Deployment and no commit {', '.join(unknown)}",
            remedy="names come after the commits;"
            " `towline get deployments -o name` lists those in force",
        )


def _show(document: dict[str, Any], output: PlanFormat) -> None:
    match output:
        case PlanFormat.TEXT:
            give(text(document))
        case PlanFormat.JSON:
            give(json.dumps(document, indent=2, ensure_ascii=False))
        case PlanFormat.MARKDOWN:
            give(markdown(document))


def _code(document: dict[str, Any], *, is_detailed: bool) -> ExitCode:
    if document["summary"]["hasErrors"]:
        return ExitCode.ERROR
    return ExitCode.CHANGES if is_detailed and document["summary"]["hasChanges"] else ExitCode.OK
