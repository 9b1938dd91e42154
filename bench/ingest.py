"""Reports taken in by the thread that writes them, with a large fleet in the store.

In process, without HTTP: what waits is more than a flush takes, so that each is full, and a row is
counted once its report is acknowledged. Devices come in no order. As durable as in use.
"""

import asyncio
import random
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from sqlalchemy import func, select, text

from bench import crowd, machine
from bench.durable import LEFT_OUT, SETTINGS, durable, gone_by
from bench.figures import Measured
from tests import stores
from tests.postgres import Databases
from towline.reconciler.server.inlet import Inlet
from towline.reconciler.store.engine import Store, open_store
from towline.reconciler.store.tables import device_state
from towline.schemas.reports import Heard, Installed, Report

WARM_UP = 9
"""Rounds that are not measured: a database at work has touched most of what it has."""
ROUNDS = 9
WAITING = 10_000
FACTS = {"agent": "0.1.0", "kernel": "6.1.0-18-arm64", "freeBytes": 12_345_678_912}


@dataclass(frozen=True, slots=True)
class Rates:
    """Of one engine."""

    ordinary: float
    """Reports a second that tell nothing new but the facts."""
    updated: float
    """Reports a second that tell of another version each."""
    kept: int
    """How many reports of the last round are in the store."""


def measure(devices: int) -> Measured:
    """The row."""
    found = {"": rates(devices, None)}
    left_out, unmet = {}, {}
    server = []
    with durable() as databases:
        if databases is None:
            left_out["ingest-postgres"] = LEFT_OUT
        else:
            gone = gone_by(databases.setting, SETTINGS)
            server.append(gone.words)
            if gone.problem:
                unmet["ingest-postgres"] = gone.problem
            found["-postgres"] = rates(devices, databases)
    values = {f"ingest{suffix}": each.ordinary for suffix, each in found.items()}
    details = [
        f"{devices:,} devices on {suffix.removeprefix('-') or 'sqlite'}: {each.ordinary:,.0f}"
        f" rows/s; {each.updated:,.0f} rows/s of those that run another version than before"
        for suffix, each in found.items()
    ]
    details.append(f"load while it was measured: {machine.load()}")
    return Measured(values, [*details, *server], left_out, unmet)


def rates(devices: int, databases: Databases | None) -> Rates:
    """Those of a store of so many devices, on Postgres where there are databases."""
    with stores.on(databases) if databases else nullcontext(), _folder() as folder:
        place = stores.place_of(Path(folder) / "towline.db")
        store = open_store(place)
        with store.write() as connection:
            crowd.fill(connection, devices, int(time.time()))
        _analyze(store)
        news = WARM_UP + ROUNDS + 1
        last = news + ROUNDS - 1
        ordinary = [_rate(store, devices, number, is_news=False) for number in range(1, news)]
        updated = [_rate(store, devices, number, is_news=True) for number in range(news, last + 1)]
        kept = _kept(store, last)
        store.close()
    return Rates(median(ordinary[WARM_UP:]), median(updated), kept)


def _kept(store: Store, number: int) -> int:
    """Reports of the round of that number that are in the store."""
    asked = select(func.count()).where(device_state.c.report_seq == number)
    with store.read() as connection:
        return connection.execute(asked).scalar_one()


def _folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory()


def _analyze(store: Store) -> None:
    """As the engines do by themselves now and then."""
    with store.engine.connect() as connection:
        connection.execute(text("ANALYZE"))
        connection.commit()


def _rate(store: Store, devices: int, number: int, *, is_news: bool) -> float:
    """Reports a second, from all waiting to all acknowledged."""
    # Devices are drawn anew for each round; the numbers of their reports rise with it.
    drawn = random.Random(number).sample(range(1, devices + 1), min(WAITING, devices))  # noqa: S311
    reports = [
        (seq, _report(number, f"1.{number}.0" if is_news else f"0.{seq * 31 % crowd.VERSIONS}.0"))
        for seq in drawn
    ]
    return asyncio.run(_acknowledged(Inlet(store, poll_interval_s=300), reports))


def _report(number: int, version: str) -> Report:
    return Report("j", number, 0, facts=FACTS, versions={"system": Installed(version, "ee" * 32)})


async def _acknowledged(inlet: Inlet, reports: list[tuple[int, Report]]) -> float:
    told_of: list[Exception | None] = []
    all_told = asyncio.Event()

    def told(_heard: Heard | None, error: Exception | None) -> None:
        told_of.append(error)
        if len(told_of) == len(reports):
            all_told.set()

    for seq, report in reports:
        inlet.hand_in(seq, (report,), told)
    began = time.monotonic()
    inlet.start()
    await all_told.wait()
    took_s = time.monotonic() - began
    assert not any(told_of)
    await asyncio.to_thread(inlet.stop)
    return len(reports) / took_s
