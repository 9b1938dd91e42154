"""What a server's process is set to before it serves: its log, files, memory and threads."""

import gc
import resource
import sys

import structlog

COLLECTED_AT = (20_000, 20, 200)
"""New objects until the young are looked at, and how often those until the next older ones are."""
TURN_S = 0.0005
"""So long a thread may keep Python from another one that waits: a tenth of what is usual."""


def set_up() -> None:
    """Once, at the begin."""
    _log_to_stderr()
    _lift_file_limit()
    _collect_rarely()
    # The thread that writes takes short turns, and all polls wait for the end of each.
    sys.setswitchinterval(TURN_S)


def _lift_file_limit() -> None:
    """Each device that waits holds a connection: as many open files as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _collect_rarely() -> None:
    """Let no collection of garbage look at all objects again and again.

    Each waiting device is some hundred of them, which live for long: a look at those of 10,000
    devices stops every answer for a second or more, and finds nothing.
    """
    gc.freeze()
    gc.set_threshold(*COLLECTED_AT)


def _log_to_stderr() -> None:
    """Lines for people on a terminal, JSON for whatever collects them else."""
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
