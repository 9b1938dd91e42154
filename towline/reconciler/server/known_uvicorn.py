"""Which versions of uvicorn are known from inside, as the way past ASGI has to know it.

`device_connection` is uvicorn's own connection with another beginning. With a version that it was
never tried with every request goes the usual way, which is as right and costs more.
"""

from importlib.metadata import version
from typing import Any

import structlog

from towline.reconciler.server.polls import Polls
from towline.reconciler.server.reporting import Reporting

FIRST, BEFORE = (0, 29), (0, 55)
"""As pyproject.toml says it to pip."""
USUAL = "httptools"

log = structlog.get_logger()


def connections(polls: Polls, reporting: Reporting) -> Any:
    """What makes a server's connections, as uvicorn's setting `http` takes it."""
    found = version("uvicorn")
    if not is_known(found):
        first, before = (".".join(map(str, bound)) for bound in (FIRST, BEFORE))
        log.warning(
            "uvicorn.unknown",
            version=found,
            effect="devices are served as ever, at several times the cost of each poll and report",
            remedy=f"pip install 'uvicorn>={first},<{before}'",
        )
        return USUAL
    from towline.reconciler.server import device_connection  # noqa: PLC0415 not of any version

    return device_connection.connections(polls, reporting)


def is_known(found: str) -> bool:
    """Whether that version was tried."""
    numbers = [int(part) for part in found.split(".")[:2] if part.isdecimal()]
    return FIRST <= tuple(numbers) < BEFORE
