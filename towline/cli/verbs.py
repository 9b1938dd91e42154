"""What an operator does: the verbs on a run and on one device, repo accept; each with a reason.

A verb says on stdout what the run is then, and for what cannot be undone in counts what it did.
"""

from typing import Annotated, Any

import typer

from towline.cli.client import Client, checked_id, connect
from towline.cli.durations import seconds
from towline.cli.exit_codes import ExitCode, NotAuthorised
from towline.cli.output import Format, plain_status, show_document
from towline.cli.printing import give, tell
from towline.schemas.problems import Problem
from towline.schemas.states import LIVE_RUNS, Verb

Name = Annotated[str, typer.Argument(help="the Deployment")]
Why = Annotated[str, typer.Option("--reason", help="for the record: why")]
Device = Annotated[str | None, typer.Option("--device", metavar="ID", help="only this device")]


def start(name: Name, reason: Why, device: Device = None) -> None:
    """Begin a run that waits for it; or name one more device of strategy manual."""
    _act(Verb.START, name, reason, device)


def pause(
    reason: Why,
    name: Annotated[str | None, typer.Argument(help="the Deployment")] = None,
    length: Annotated[
        str | None, typer.Option("--for", metavar="D", help="it ends by itself, such as after 4h")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="every live Deployment")] = False,
) -> None:
    """Grant nothing new; grants that have not begun to install are taken back."""
    if everything is (name is not None):
        raise typer.BadParameter("name one Deployment, or give --all")
    # An emergency stop outlasts whatever holds the run now.
    options: dict[str, Any] = {"beside_holds": True}
    if length is not None:
        options["pause_s"] = seconds(length)
    if name is not None:
        _act(Verb.PAUSE, name, reason, **options)
    elif not _pause_all(connect(), reason, options):
        raise typer.Exit(ExitCode.ERROR)


def resume(
    name: Name,
    reason: Why,
    accept: Annotated[
        bool, typer.Option("--accept", help="set the verdicts of a failed gate aside")
    ] = False,
) -> None:
    """End a pause."""
    _act(Verb.RESUME, name, reason, accept=accept)


def approve(
    name: Name,
    reason: Why,
    through_windows: Annotated[
        bool, typer.Option("--through-windows", help="a return need not wait for windows")
    ] = False,
) -> None:
    """Let a run go on that waits for an approval."""
    _act(Verb.APPROVE, name, reason, through_windows=through_windows)


def cancel(name: Name, reason: Why) -> None:
    """End the run for good; devices that install now finish."""
    _act(Verb.CANCEL, name, reason)


def retry(name: Name, reason: Why, device: Device = None) -> None:
    """Try the failed devices again, or begin the next run of a final one."""
    _act(Verb.RETRY, name, reason, device)


def rollback(name: Name, reason: Why, device: Device = None) -> None:
    """Send every device back to what it came from; or one, which is then pinned there."""
    _act(Verb.ROLLBACK, name, reason, device)


def _act(verb: Verb, name: str, reason: str, device: str | None = None, **options: Any) -> None:
    client = connect()
    run = client.newest_run(name)
    path = f"/deployments/{run['id']}"
    if device is not None:
        path = f"{path}/devices/{checked_id(device)}/{verb}"
        give(client.post(path, reason=reason)["message"])
        return
    _tell_done(run, client.post(f"{path}/{verb}", reason=reason, **options))


def _tell_done(run: dict[str, Any], answer: dict[str, Any]) -> None:
    words = " ".join(filter(None, [answer["reason"], answer["message"]]))
    title = f"{run['name']} {run['target_version']}"
    give(f"{title}: {plain_status(answer['status'])} {words}".rstrip())
    if answer["did"]:
        give(f"  {answer['did']}")


def _pause_all(client: Client, reason: str, options: dict[str, Any]) -> bool:
    """Pause each Deployment's newest run that is live; True when every one is paused then."""
    newest: dict[str, dict[str, Any]] = {}
    for run in client.pages("/deployments", "deployments"):
        newest.setdefault(run["name"], run)
    live = [run for _, run in sorted(newest.items()) if run["status"] in LIVE_RUNS]
    if not live:
        tell("no Deployment is live: there is nothing to pause")
    paused = [_pause_one(run, reason, options) for run in live]
    return all(paused)


def _pause_one(run: dict[str, Any], reason: str, options: dict[str, Any]) -> bool:
    """One that a person paused already stays as it is.

    Each has a connection of its own: what broke with one must not break the next.
    """
    title = f"{run['name']} {run['target_version']}"
    if any(hold["reason"] == "PausedByUser" for hold in run["holds"]):
        give(f"{title}: is paused already; cleared by resume")
        return True
    try:
        path = f"/deployments/{run['id']}/{Verb.PAUSE}"
        answer = connect().post(path, reason=reason, **options)
    except NotAuthorised:
        raise
    except Problem as problem:
        tell(f"{title}: not paused: {problem}")
        return False
    _tell_done(run, answer)
    return True


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
    for warning in found.get("warnings", ()):
        give(f"warning    {warning}")


@repo.command("accept")
def repo_accept(
    commit: Annotated[str, typer.Argument(help="the held commit")], reason: Why
) -> None:
    """Let a held commit be applied."""
    answer = connect().post("/repository/accept", commit=commit, reason=reason)
    give(f"{answer['commit']} will be applied")
