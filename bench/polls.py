"""Unchanged polls: Towline beside the same route in FastAPI, and nginx with a static file."""

import itertools
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from bench.figures import Measured
from bench.fleet import fill
from bench.load import Loaded, Requests, load
from bench.processes import Server, has_nginx, nginx, started
from bench.session import session_of

CONNECTIONS = 128
DEVICES_EACH = 16
"""So many that none calls more often than one device may."""
PATH = "/api/v1/ota/desired-state"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    repeats: int = 3
    seconds: float = 3
    connections: int = CONNECTIONS


def measure(size: Size) -> Measured:
    """The row."""
    devices = size.connections * DEVICES_EACH
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        fill(folder, devices)
        commands = {
            "towline": ("bench.served", str(folder)),
            "fastapi async": ("bench.twins.polls", str(devices)),
        }
        servers = stack.enter_context(started(commands))
        if has_nginx():
            (folder / "desired-state.json").write_text("{}" * 500)
            settings = (Path(__file__).parent / "twins/nginx.conf").read_text()
            servers["nginx"] = stack.enter_context(nginx(folder, settings))
        requests = {name: prepared(server, devices) for name, server in servers.items()}
        servers["towline"].ask("statements")
        found: dict[str, list[Loaded]] = {name: [] for name in servers}
        for _, (name, server) in itertools.product(range(size.repeats), servers.items()):
            connections = list(_connections(requests[name], size.connections))
            found[name].append(load(server.port, server.pid, 304, connections, size.seconds))
        statements = servers["towline"].ask("statements")
    return _told(found, statements)


def _told(found: dict[str, list[Loaded]], statements: int) -> Measured:
    cost = {
        name: statistics.median(each.processor_us for each in runs) for name, runs in found.items()
    }
    polls = sum(each.requests for each in found["towline"])
    values = {
        "poll-fastapi": cost["fastapi async"] / cost["towline"],
        "poll-statements": statements / polls,
    }
    details = [
        f"{name}: {statistics.median(each.per_s for each in runs):,.0f}/s,"
        f" {cost[name]:.1f} µs of processor each"
        for name, runs in found.items()
    ]
    details.append(f"{statements} database statements in {polls:,} polls")
    if "nginx" in cost:
        values["poll-nginx"] = 100 * cost["nginx"] / cost["towline"]
        return Measured(values, details)
    why = "nginx is not on this machine: install it for this figure"
    return Measured(values, details, left_out={"poll-nginx": why})


def prepared(server: Server, devices: int, query: str = "") -> list[bytes]:
    """Each device's poll with the ETag that it got; who asks first is given a document."""
    connection = HTTPConnection("127.0.0.1", server.port)
    return [poll_of(seq, _etag(connection, seq), query) for seq in range(1, devices + 1)]


def _etag(connection: HTTPConnection, seq: int) -> str:
    connection.request("GET", PATH, headers=_headers_of(seq))
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200, answer.status
    return answer.headers["etag"]


def _headers_of(seq: int) -> dict[str, str]:
    """What a device sends with a poll."""
    return {
        "Host": "towline",
        "Authorization": f"Bearer {session_of(seq)}",
        "Towline-Nonce": f"{seq:022}",
        "Towline-Sequence": "1",
    }


def poll_of(seq: int, etag: str, query: str = "") -> bytes:
    """The request, as it goes over the line."""
    headers = _headers_of(seq) | {"If-None-Match": etag}
    lines = (
        f"GET {PATH}{query} HTTP/1.1",
        *(f"{name}: {value}" for name, value in headers.items()),
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def _connections(requests: list[bytes], number: int) -> Iterator[Requests]:
    for first in range(number):
        yield itertools.cycle(requests[first::number]).__next__
