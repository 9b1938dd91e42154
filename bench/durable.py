"""A Postgres to be measured, as durable as one in use: tests wait for no disk, a bench does.

Settings are asked for when a server is started for the bench. One that was there before, that of
TEST_DATABASE_URL, has its own: what it goes by is read back and told.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from tests.postgres import MISSING, Databases, databases

DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
"""Without these a commit waits for no disk, and a figure is of something else."""
SETTINGS = {
    **DURABLE,
    "autovacuum": "on",
    "shared_buffers": "1GB",
    "work_mem": "64MB",
    "max_wal_size": "4GB",
}
LEFT_OUT = f"Postgres is left out: {MISSING}"


@dataclass(frozen=True, slots=True)
class GoneBy:
    """What a server goes by."""

    words: str
    """All of it, for people."""
    problem: str | None
    """What differs of what a figure is defined by."""


@contextmanager
def durable() -> Iterator[Databases | None]:
    """None where there is no Postgres on this machine."""
    with ExitStack() as stack:
        try:
            found = stack.enter_context(databases(**SETTINGS))
        except pytest.skip.Exception:
            found = None
        yield found


def gone_by(
    setting: Callable[[str], str], wanted: Mapping[str, str], needed: Mapping[str, str] = DURABLE
) -> GoneBy:
    """What the server says of these settings, and which of the needed ones it does not have."""
    found = {name: setting(name) for name in {**wanted, **needed}}
    told = ", ".join(
        f"{name} {value}" + ("" if value == wanted.get(name, value) else f" (not {wanted[name]})")
        for name, value in found.items()
    )
    other = [f"{name} is {found[name]}" for name, value in needed.items() if found[name] != value]
    problem = f"the Postgres that was given is another: {', '.join(other)}" if other else None
    return GoneBy(f"Postgres {setting('server_version')}: {told}", problem)
