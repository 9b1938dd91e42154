"""Reports that are acknowledged after their commit: Towline beside one insert and commit for each.

On SQLite and, where there is one, on a Postgres that is as durable as one in use. On both the base
is the twin on the same stack that inserts and commits each by itself. Towline that commits each
report alone is told beside it: it does all that Towline does, and so says what the flushes bring.
"""

import itertools
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import orjson

from bench.durable import LEFT_OUT, SETTINGS, durable, gone_by
from bench.figures import Measured
from bench.fleet import fill
from bench.load import Loaded, Requests, load
from bench.polls import Size
from bench.processes import Server, started
from bench.session import session_of
from tests import stores
from tests.postgres import Databases

DEVICES_EACH = 16
SERVERS = {
    "towline": ("bench.served", "{0}"),
    "towline, each alone": ("bench.served", "{1}", "--alone"),
    "insert each, raw ASGI": ("bench.twins.inserts", "{0}/inserts.db", "{2}"),
    "insert each, FastAPI sync": ("bench.twins.reports", "{0}/reports.db", "{2}"),
}
ON_POSTGRES = {
    "towline, Postgres": ("bench.served", "{0}", "{2}"),
    "towline, Postgres, each alone": ("bench.served", "{1}", "{3}", "--alone"),
    "insert each, raw ASGI, Postgres, 8 connections": ("bench.twins.inserts", "{4}", "{5}"),
}
FIRST = 10**9
"""All numbers of reports have as many digits, and so the same length."""


def measure(size: Size) -> Measured:
    """The row."""
    devices = size.connections * DEVICES_EACH
    numbers = itertools.count(FIRST)
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
        commands = _filled(folders, devices)
        databases, gone = stack.enter_context(durable()), None
        if databases is not None:
            gone = gone_by(databases.setting, SETTINGS)
            more = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
            commands |= _filled_on_postgres(databases, more, devices)
        servers = stack.enter_context(started(commands))
        found: dict[str, list[Loaded]] = {name: [] for name in servers}
        for _, (name, server) in itertools.product(range(size.repeats), servers.items()):
            found[name].append(_loaded(server, numbers, size))
    measured = told(found)
    if gone is None:
        return measured
    unmet = {"reports-postgres": gone.problem} if gone.problem else {}
    return replace(measured, details=[*measured.details, gone.words], unmet=unmet)


Commands = dict[str, tuple[str, ...]]


def _filled(folders: Sequence[Path], devices: int) -> Commands:
    """How the servers are begun, once their stores are filled."""
    for folder in folders:
        fill(folder, devices)
    return _commands(SERVERS, *folders, devices)


def _filled_on_postgres(databases: Databases, folders: Sequence[Path], devices: int) -> Commands:
    with stores.on(databases):
        for folder in folders:
            fill(folder, devices)
        places = [stores.place_of(folder / "towline.db") for folder in folders]
    return _commands(ON_POSTGRES, *folders, *places, databases.empty(), devices)


def _commands(servers: Mapping[str, Sequence[str]], *given: object) -> Commands:
    return {name: tuple(word.format(*given) for word in words) for name, words in servers.items()}


def _loaded(server: Server, numbers: Iterator[int], size: Size) -> Loaded:
    connections = [connection_of(first, numbers, size) for first in range(size.connections)]
    return load(server.port, server.pid, 204, connections, size.seconds)


def connection_of(first: int, numbers: Iterator[int], size: Size) -> Requests:
    """Devices of its own, one after the other, each with a higher number than before."""
    seqs = range(first + 1, size.connections * DEVICES_EACH + 1, size.connections)
    parts = itertools.cycle([_request(seq).split(b"NUMBER") for seq in seqs])
    return lambda: (b"%d" % next(numbers)).join(next(parts))


def _request(seq: int) -> bytes:
    """An ordinary report: what the device is and runs."""
    document = {
        "journal": "j",
        "reportSeq": "NUMBER",
        "lastSequence": 0,
        "facts": {"agent": "0.1.0", "kernel": "6.1.0-18-arm64", "freeBytes": 12_345_678_912},
        "versions": {"app": {"version": "0.9.0", "sha256": "ab" * 32}},
    }
    body = orjson.dumps(document).replace(b'"NUMBER"', b"NUMBER")
    length = len(body) - len(b"NUMBER") + len(str(FIRST))
    head = (
        f"POST /api/v1/ota/reports HTTP/1.1\r\nHost: towline\r\n"
        f"Authorization: Bearer {session_of(seq)}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n\r\n"
    )
    return head.encode() + body


def told(found: Mapping[str, Sequence[Loaded]]) -> Measured:
    """The figures of what was found of each server, and words on all of them."""
    rate = {name: statistics.median(each.per_s for each in runs) for name, runs in found.items()}
    ours, alone, inserts, framework = (rate[name] for name in SERVERS)
    values = {"reports-inserts": ours / inserts, "reports-fastapi": ours / framework}
    by_flushes = f"ours / ours with each report in its own commit: {ours / alone:.2f} x on SQLite"
    if ON_POSTGRES.keys() <= rate.keys():
        ours, alone, inserts = (rate[name] for name in ON_POSTGRES)
        values["reports-postgres"] = ours / inserts
        by_flushes += f", {ours / alone:.2f} x on Postgres"
    details = [
        f"{name}: {rate[name]:,.0f}/s,"
        f" {statistics.median(each.processor_us for each in runs):.0f} µs of processor each"
        for name, runs in found.items()
    ]
    left_out = {} if "reports-postgres" in values else {"reports-postgres": LEFT_OUT}
    return Measured(values, [*details, by_flushes], left_out)
