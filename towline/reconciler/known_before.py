"""What is known of devices before their reports are taken in, asked for all of them at once."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Select

from towline.reconciler.store import inventory, reporters
from towline.reconciler.store.reporters import Reporter
from towline.reconciler.store.together import ask, together
from towline.reconciler.verification import Completed, Completions, last_completed
from towline.schemas.reports import Installed


@dataclass(frozen=True, slots=True)
class Known:
    """As their last reports left it."""

    reporters: dict[int, Reporter]
    running: dict[tuple[int, str], Installed]
    """By device and component."""
    completions: Completions


def known_before(connection: Connection, devices: Collection[int]) -> Known:
    """What is known of these devices."""
    asked = asked_together(connection.dialect.name)
    names = reporters.Names(connection, devices)
    who, what, completed = ask(connection, asked, {"devices": devices})
    return Known(
        {row[0]: Reporter(names, *row) for row in who},
        {(row[0], row[1]): Installed(row[2], row[3]) for row in what},
        Completions(connection, devices, [Completed(*row) for row in completed]),
    )


@lru_cache
def asked_together(engine: str) -> Select[Any]:
    """What is known of the `devices` of a statement, in one."""
    questions = (reporters.known(engine), inventory.running_of(engine), last_completed(engine))
    return together(engine, *questions)
