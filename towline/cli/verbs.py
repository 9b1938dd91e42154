"""What an operator does: start, pause, resume, cancel, retry, repo accept; each with a reason."""

from typing import Annotated

import typer

from towline.cli.client import connect
from towline.cli.output import Format, plain_status, show_document
from towline.cli.printing import give
from towline.schemas.states import Verb

Name = Annotated[str, typer.Argument(help="the Deployment")]
Why = Annotated[str, typer.Option("--reason", help="for the record: why")]


def start(name: Name, reason: Why) -> None:
    """Begin a run that waits for it."""
    _act(Verb.START, name, reason)


def pause(name: Name, reason: Why) -> None:
    """Grant nothing new; grants that have not begun to install are taken back."""
    _act(Verb.PAUSE, name, reason)


def resume(
    name: Name,
    reason: Why,
    accept: Annotated[
        bool, typer.Option("--accept", help="set the verdicts of a failed gate aside")
    ] = False,
) -> None:
    """End a pause."""
    _act(Verb.RESUME, name, reason, accept=accept)


def cancel(name: Name, reason: Why) -> None:
    """End the run for good; devices that install now finish."""
    _act(Verb.CANCEL, name, reason)


def retry(name: Name, reason: Why) -> None:
    """Try the failed devices again, or begin the next run of a final one."""
    _act(Verb.RETRY, name, reason)


def _act(verb: Verb, name: str, reason: str, *, accept: bool = False) -> None:
    client = connect()
    run = client.newest_run(name)
    answer = client.post(f"/deployments/{run['id']}/{verb}", reason=reason, accept=accept)
    words = " ".join(filter(None, [answer["reason"], answer["message"]]))
    give(f"{name} {run['target_version']}: {plain_status(answer['status'])} {words}".rstrip())


repo = typer.Typer(help="The repository that the server follows.", no_args_is_help=True)


@repo.command("status")
def repo_status(
    output: Annotated[Format, typer.Option("-o", "--output")] = Format.TABLE,
) -> None:
    """What is followed and in force, the last look, what is held and why, what is broken."""
    found = connect().get("/repository")
    if output is not Format.TABLE:
        show_document(found, output)
        return
    folder = f", folder {found['path']}" if found["path"] else ""
    give(f"follows    {found['branch']} of {found['url']}{folder}")
    give(f"in force   {found['applied_commit'] or '-'} since {found['applied_at'] or '-'}")
    give(f"last look  {found['last_fetch_at'] or '-'}")
    if found["held_commit"]:
        give(f"held       {found['held_commit']}: {found['hold_reason']}")
    if found["last_error"]:
        give(f"error      {found['last_error']}")
    for manifest in found["broken"]:
        for error in manifest["errors"]:
            give(f"broken     {error}")


@repo.command("accept")
def repo_accept(
    commit: Annotated[str, typer.Argument(help="the held commit")], reason: Why
) -> None:
    """Let a held commit be applied."""
    answer = connect().post("/repository/accept", commit=commit, reason=reason)
    give(f"{answer['commit']} will be applied")
