"""What the command line's exit codes mean. The one list; scripts and CI gates read them."""

from enum import IntEnum

from towline.schemas.problems import Problem


class ExitCode(IntEnum):
    """A command that ends with another code than OK raises `typer.Exit(code)` or a Problem."""

    OK = 0
    ERROR = 1
    CHANGES = 2
    """`plan --detailed-exitcode` only: there is something to do."""
    NOT_AUTHORISED = 4
    ROLLOUT_FAILED = 5
    """A rollout failed, or a failed gate holds it."""
    USAGE = 64
    TIMED_OUT = 124
    INTERRUPTED = 130


class Misused(Problem):
    """What was typed after a command cannot be meant: it ends with USAGE."""


class NotAuthorised(Problem):
    """The server does not know the token, or its role is too low."""
