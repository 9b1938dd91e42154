"""The entry point of `towline`: the table of commands, and how each way to fail ends.

Imports nothing at start that the base install lacks. No error reaches a person as a traceback:
what went wrong is said on stderr and in the exit code.
"""

import os
import sys
import traceback
from collections.abc import Sequence

from towline.cli.exit_codes import ExitCode, Misused, NotAuthorised
from towline.schemas.problems import Problem, Refused

FLEET = "Fleet repository"
SERVER = "Server and devices"
LOOK = "Looking at it"
ACT = "Acting on it"

COMMANDS = (
    ("init", "towline.cli.init:init", "Make a fleet repository.", FLEET),
    ("publish", "towline.cli.publish:publish", "Ship a folder as a new version.", FLEET),
    ("deployment", "towline.cli.deployment_new:app", "Make and edit manifests.", FLEET),
    ("package", "towline.cli.package:app", "Build packages.", FLEET),
    ("release", "towline.cli.release:app", "Sign and verify releases.", FLEET),
    ("trust", "towline.cli.trust:app", "Keys and roots.", FLEET),
    ("validate", "towline.cli.validate:validate", "Check manifests.", FLEET),
    ("plan", "towline.cli.plan:plan", "Tell what a merge would do.", FLEET),
    ("simulate", "towline.cli.simulate:simulate", "Play a rollout ahead of time.", FLEET),
    ("serve", "towline.cli.serve:serve", "Serve a fleet.", SERVER),
    ("join", "towline.cli.join:app", "Bring devices in.", SERVER),
    ("device", "towline.cli.device:app", "Let devices in, and out.", SERVER),
    ("org", "towline.cli.org:app", "The organizations that are served.", SERVER),
    ("token", "towline.cli.token:app", "Let people in, and out.", SERVER),
    ("repo", "towline.cli.verbs:repo", "The repository that the server follows.", SERVER),
    ("swarm", "towline.cli.swarm:swarm", "Simulated devices, to load a server.", SERVER),
    ("backup", "towline.cli.backup:backup", "Copy the store of a server.", SERVER),
    ("restore", "towline.cli.backup:restore", "Put a backup in its place.", SERVER),
    ("doctor", "towline.cli.doctor:doctor", "Look whether the store is sound.", SERVER),
    ("demo", "towline.cli.demo:demo", "The whole story on this machine.", SERVER),
    ("get", "towline.cli.look:get", "List deployments, devices, events and more.", LOOK),
    ("describe", "towline.cli.describe:describe", "Show one deployment or device.", LOOK),
    ("explain", "towline.cli.explain:explain", "Tell what blocks, and the way out.", LOOK),
    ("watch", "towline.cli.watch:watch", "Watch rollouts as they happen.", LOOK),
    ("wait", "towline.cli.wait:wait", "Wait for a rollout's outcome.", LOOK),
    ("audit", "towline.cli.audit:app", "Who did what, when and why.", LOOK),
    ("replay", "towline.cli.replay:replay", "Rebuild from events what stood at a time.", LOOK),
    ("start", "towline.cli.verbs:start", "Begin a run that waits for it.", ACT),
    ("pause", "towline.cli.verbs:pause", "Grant nothing new.", ACT),
    ("resume", "towline.cli.verbs:resume", "End a pause.", ACT),
    ("approve", "towline.cli.verbs:approve", "Let a run go on that waits for it.", ACT),
    ("retry", "towline.cli.verbs:retry", "Try failed devices again.", ACT),
    ("cancel", "towline.cli.verbs:cancel", "End a run for good.", ACT),
    ("rollback", "towline.cli.verbs:rollback", "Send devices back.", ACT),
)
"""Name, where it lies, what it does, its heading in the help: in the order of the help."""


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code, after saying on stderr what went wrong."""
    try:
        return _run(arguments)
    except NotAuthorised as problem:
        _say(f"error: {problem}")
        return ExitCode.NOT_AUTHORISED
    except Misused as problem:
        _say(f"error: {problem}")
        return ExitCode.USAGE
    except Problem as problem:
        _say(f"error: {problem}")
    except Refused as refusal:
        _say(f"error: refused: {refusal}")
    except ModuleNotFoundError as error:
        _say(_missing_module(error))
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except OSError as error:
        _say(f"error: {error.filename or 'towline'}: {error.strerror or error}")
        _trace()
    except Exception as error:  # noqa: BLE001 - the last line of defence for the person
        _say(f"this is a bug in towline: {type(error).__name__}: {error}")
        if not _trace():
            _say("  → please report it, with what TOWLINE_DEBUG=1 shows")
    return ExitCode.ERROR


def _run(arguments: Sequence[str]) -> int:
    import typer  # noqa: PLC0415 - the base install lacks it

    from towline.cli.command_table import Row, build  # noqa: PLC0415

    usage_error = typer.BadParameter.__mro__[1]  # typer gives it no public name
    command = build([Row(*row) for row in COMMANDS])
    try:
        code = command(list(arguments), prog_name="towline", standalone_mode=False)
    except typer.Abort:
        return ExitCode.INTERRUPTED
    except Exception as error:
        if not isinstance(error, usage_error):
            raise
        if message := getattr(error, "message", ""):
            # Of the library that reads options; it tells a person nothing.
            vars(error)["message"] = message.replace("Value error, ", "")
        error.show()  # type: ignore[attr-defined]
        return ExitCode.USAGE
    return code if isinstance(code, int) else ExitCode.OK


def _missing_module(error: ModuleNotFoundError) -> str:
    if (error.name or "towline").split(".")[0] == "towline":
        return f"this is a bug in towline: {error}"
    return (
        f"error: this command needs {error.name}, which is not installed\n"
        "  → pip install 'towline[server]'"
    )


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _trace() -> bool:
    wanted = os.environ.get("TOWLINE_DEBUG") == "1"
    if wanted:
        traceback.print_exc()
    return wanted
