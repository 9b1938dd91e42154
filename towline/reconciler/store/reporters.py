"""Devices that report: what is known of each before their reports, and what is kept of it after.

Read for all reports of a transaction at once, and written so: a report costs no look of its own.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, Select, Update, bindparam, func, select, update

from towline.reconciler.store.given import among_given, rows_given, written
from towline.reconciler.store.remembered import wrote
from towline.reconciler.store.tables import device_state, edge_devices
from towline.schemas.reports import Heard, Report


class Names:
    """The ids and organizations of devices, asked for all of them at once where one is wanted.

    Most reports tell nothing new, and nothing is said of who sent them.
    """

    def __init__(self, connection: Connection, devices: Collection[int]) -> None:
        self._connection = connection
        self._devices = devices
        self._known: dict[int, tuple[str, str]] = {}

    def of(self, device_seq: int) -> tuple[str, str]:
        """The device's id and its organization."""
        if not self._known:
            asked = _named(self._connection.dialect.name)
            rows = self._connection.execute(asked, {"devices": self._devices})
            self._known = {seq: (slug, organization) for seq, slug, organization in rows}
        return self._known[device_seq]


@dataclass(slots=True)
class Reporter:
    """The device that a report comes from, as its last report left it."""

    names: Names
    seq: int
    journal: str
    journals: int
    report_seq: int
    last_sequence: int
    rejected: str
    last_seen: int | None
    """Before these reports."""
    told_zone: str | None
    """The time zone that it named last."""
    facts: dict[str, Any] | None = None
    """What it said of itself since; None: nothing."""

    @property
    def slug(self) -> str:
        """Its id."""
        return self.names.of(self.seq)[0]

    @property
    def organization(self) -> str:
        """Whose it is."""
        return self.names.of(self.seq)[1]

    @property
    def heard(self) -> Heard:
        """Up to where."""
        return Heard(self.journals, self.report_seq)

    def is_ahead(self, report: Report) -> bool:
        """Whether more was acknowledged to the device than is known: the store was put back.

        Nothing that a device does makes less of what is known of it, so no receipt that it ever got
        is ahead of a store that forgot nothing.
        """
        said = report.acknowledged
        return said is not None and said.heard > self.heard

    def take(self, report: Report) -> bool:
        """True once per report, which is then the last one: its number grows within its journal."""
        if self.journal == report.journal and report.report_seq <= self.report_seq:
            return False
        # A refusal is told once and stands until a newer document was accepted.
        still = "" if report.last_sequence > self.last_sequence else self.rejected
        self.rejected = report.rejected or still
        if self.journal != report.journal:
            self.journals += 1
        self.journal, self.report_seq = report.journal, report.report_seq
        self.last_sequence = max(self.last_sequence, report.last_sequence)
        self.facts = report.facts or self.facts
        return True


@lru_cache
def known(engine: str) -> Select[Any]:
    """What is known of the `devices` of a statement, as a `Reporter` begins."""
    return select(
        device_state.c.device_seq,
        device_state.c.journal,
        device_state.c.journals,
        device_state.c.report_seq,
        device_state.c.last_sequence,
        device_state.c.rejected,
        device_state.c.last_seen,
        device_state.c.told_zone,
    ).where(among_given(engine, device_state.c.device_seq, "devices"))


@lru_cache
def _named(engine: str) -> Select[Any]:
    devices = edge_devices.c
    return select(devices.seq, devices.slug, devices.organization).where(
        among_given(engine, devices.seq, "devices")
    )


def returned(reporters: Iterable[Reporter], silent_since: int) -> list[str]:
    """The organizations of those that had not been heard of since `silent_since`."""
    return sorted({each.organization for each in reporters if (each.last_seen or 0) < silent_since})


def keep(connection: Connection, reporters: Collection[Reporter], now: int) -> None:
    """They have reported: what they are now is what is known of them next time."""
    if not reporters:
        return
    if connection.dialect.name == "sqlite":
        # It writes a row in less time than it takes to find the row's values in JSON.
        told = ((now, _text(each.facts), *_kept_of(each), each.seq) for each in reporters)
        connection.exec_driver_sql(_KEEPING_ONE, list(told))
        wrote(connection, device_state)
        return
    # Written out: to put each row together from names takes longer than to send them all.
    rows = [
        {
            "device_seq": each.seq,
            "facts": each.facts,
            "journal": each.journal,
            "journals": each.journals,
            "report_seq": each.report_seq,
            "last_sequence": each.last_sequence,
            "rejected": each.rejected,
            "told_zone": each.told_zone,
        }
        for each in reporters
    ]
    connection.execute(_keeping(connection.dialect.name), {"reporters": rows, "now": now})


_KEPT = ("journal", "journals", "report_seq", "last_sequence", "rejected", "told_zone")
_kept_of = attrgetter(*_KEPT)
_KEEPING_ONE = (
    "UPDATE device_state SET last_seen = ?, facts = coalesce(?, facts),"  # noqa: S608 our own names
    f" {', '.join(f'{name} = ?' for name in _KEPT)} WHERE device_seq = ?"
)


def _text(facts: dict[str, Any] | None) -> str | None:
    return None if facts is None else written(facts)


@lru_cache
def _keeping(engine: str) -> Update:
    columns = {name: device_state.c[name].type for name in ("device_seq", "facts", *_KEPT)}
    given = rows_given(engine, "reporters", columns)
    return (
        update(device_state)
        .where(device_state.c.device_seq == given.c.device_seq)
        .values(
            last_seen=bindparam("now"),
            facts=func.coalesce(given.c.facts, device_state.c.facts),
            **{name: given.c[name] for name in _KEPT},
        )
    )


def heard(connection: Connection, device_seq: int) -> tuple[str, int]:
    """The device's journal and the last number in it."""
    row = connection.execute(_HEARD, {"of_device": device_seq}).one()
    return row.journal or "", row.report_seq


_HEARD = select(device_state.c.journal, device_state.c.report_seq).where(
    device_state.c.device_seq == bindparam("of_device")
)
