"""Figures asked over real HTTP: answers, garbage, slowness; what is due; the thread itself."""

import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from tests.agent.certificate import make_certificate
from tests.reconciler.rows import REVISION, add_batch, add_run
from tests.reconciler.simulation import ORGANIZATION, ROOT
from tests.stores import open_fresh
from towline.manifests.model import Analysis, Deployment, StrategyKind
from towline.reconciler.analysis import CannotTell, State
from towline.reconciler.analyst import Analyst
from towline.reconciler.figures import Fetcher, FigureLimits
from towline.reconciler.head import CommitSeen, Head
from towline.reconciler.questions import batch_standing, due_questions
from towline.reconciler.store import analyses, dirt
from towline.reconciler.store import tables as t
from towline.reconciler.store.analyses import Answer, Outcome
from towline.reconciler.store.engine import Store

NOW = 1_800_000_000
QUICK = FigureLimits(deadline_s=0.4, size_bytes=1000)
PATIENT = FigureLimits(deadline_s=60, size_bytes=1000)

Reply = Callable[[BaseHTTPRequestHandler], None]


def send(
    status: int = 200, body: bytes = b'{"rate": 0.001}', length: int | None = None, **headers: str
) -> Reply:
    def reply(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in ({"Content-Length": str(length or len(body))} | headers).items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    return reply


class Prometheus:
    """A server that answers each path as it is told, and remembers what it was asked."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.replies: dict[str, Reply] = {}
        self.asked: list[str] = []
        self.stopped = threading.Event()
        self.stuck = threading.Event()
        outer = self

        class Request(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                outer.replies.get(self.path.partition("?")[0], send())(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Request)
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.scheme = "https" if tls else "http"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, path: str = "/") -> str:
        return f"{self.scheme}://127.0.0.1:{self.server.server_address[1]}{path}"

    def drip(self, opening: bytes) -> Reply:
        """Send `opening`, then a byte now and then, until the test is over or the line is cut."""

        def reply(request: BaseHTTPRequestHandler) -> None:
            self.stuck.set()
            request.wfile.write(opening)
            try:
                while not self.stopped.wait(0.02):
                    request.wfile.write(b"x")
            except OSError:
                return

        return reply

    def close(self) -> None:
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    server = Prometheus()
    yield server
    server.close()


def test_the_body_of_an_answer_is_fetched_with_the_whole_query(prometheus: Prometheus) -> None:
    body = Fetcher(PATIENT).fetch(prometheus.url("/api/v1/query?query=rate(x%5B5m%5D)"))
    assert body == b'{"rate": 0.001}'
    assert prometheus.asked == ["/api/v1/query?query=rate(x%5B5m%5D)"]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (send(404), "the server answered 404"),
        (send(503), "the server answered 503"),
        (send(204, b""), "the server answered 204"),
        (send(302, Location="/other"), "the server answered 302; no redirect is followed"),
        (send(body=b"1" * 1001), "the answer is larger than 1000 bytes"),
        (send(length=900), "no answer (IncompleteRead)"),
        (lambda request: request.wfile.write(b"hello\n"), "no answer (BadStatusLine)"),
    ],
)
def test_what_is_no_answer_is_said_in_words(
    prometheus: Prometheus, reply: Reply, message: str
) -> None:
    prometheus.replies["/"] = reply
    with pytest.raises(CannotTell) as told:
        Fetcher(PATIENT).fetch(prometheus.url("/?secret"))
    assert str(told.value) == message
    assert prometheus.asked == ["/?secret"], "nothing else was asked"


@pytest.mark.parametrize(
    "opening",
    [b"", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n",
     b"HTTP/1.1 200 OK\r\n\r\n"],
)  # fmt: skip
def test_a_server_that_drips_is_cut_at_the_deadline(prometheus: Prometheus, opening: bytes) -> None:
    prometheus.replies["/"] = prometheus.drip(opening)
    with pytest.raises(CannotTell, match=r"no whole answer within 0\.4 s"):
        Fetcher(QUICK).fetch(prometheus.url())


def test_a_fetch_under_way_ends_when_the_fetcher_is_stopped(prometheus: Prometheus) -> None:
    prometheus.replies["/"] = prometheus.drip(b"")
    fetcher = Fetcher(PATIENT)

    def stop_later() -> None:
        prometheus.stuck.wait()
        fetcher.stop()

    threading.Thread(target=stop_later).start()
    with pytest.raises(CannotTell):
        fetcher.fetch(prometheus.url())
    with pytest.raises(CannotTell):
        fetcher.fetch(prometheus.url())


def test_a_server_that_is_not_there_cannot_tell(prometheus: Prometheus) -> None:
    prometheus.close()
    with pytest.raises(CannotTell, match=r"no answer \(Connection refused\)"):
        Fetcher(PATIENT).fetch(prometheus.url())


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://host/", "http://", "http://host:0/", "http://host:x/", "host",
     "http://host/a b", "http://host/\r\nX: y", "http://höst/"],
)  # fmt: skip
def test_only_plain_http_and_https_addresses_are_asked(url: str) -> None:
    with pytest.raises(CannotTell, match="address"):
        Fetcher(PATIENT).fetch(url)


def test_the_certificate_of_a_server_is_verified(tmp_path: Path) -> None:
    tls, _ = make_certificate(tmp_path)
    server = Prometheus(tls)
    try:
        with pytest.raises(CannotTell, match="the server's certificate: self-signed"):
            Fetcher(PATIENT).fetch(server.url())
        assert server.asked == []
        trusted = ssl.create_default_context(cafile=str(tmp_path / "tls.pem"))
        assert Fetcher(PATIENT, trusted).fetch(server.url()) == b'{"rate": 0.001}'
        server.replies["/"] = server.drip(b"HTTP/1.1 200 OK\r\n\r\n")
        with pytest.raises(CannotTell, match="no whole answer"):
            Fetcher(QUICK, trusted).fetch(server.url())
    finally:
        server.close()


class Bench:
    """A store with one run of app whose first batch waits for its analysis since NOW."""

    def __init__(self, folder: Path, url: str) -> None:
        self.store: Store = open_fresh(folder / "towline.db")
        self.now = NOW
        self.rate = Analysis("rate", url, "rate", "<", "0.01", 300, 2)
        with self.store.write() as connection:
            self.run_seq = add_run(connection)
            add_batch(connection, self.run_seq, state="soaking", analysis_from=NOW)

    def head(self, *asked: Analysis, revision: str = REVISION) -> Head:
        manifest = Deployment(
            "app", "app.yaml", "1.0.0", (), StrategyKind.IMMEDIATE, (), revision, "{}",
            analysis=asked or (self.rate,),
        )  # fmt: skip
        return Head(ORGANIZATION, CommitSeen("0" * 40), ROOT, deployments={"app": manifest})

    def due(self, head: Head | None = None) -> list[str]:
        with self.store.read() as connection:
            found = due_questions(connection, head or self.head(), self.now)
        return [question.analysis.name for question in found.due]

    def next_at(self) -> int | None:
        with self.store.read() as connection:
            return due_questions(connection, self.head(), self.now).next_at

    def state(self) -> State:
        with self.store.read() as connection:
            return batch_standing(connection, self.run_seq, 0, NOW, (self.rate,)).state

    def answer(self, outcome: Outcome, name: str = "rate") -> None:
        with self.store.write() as connection:
            analyses.write(connection, self.run_seq, 0, name, Answer(self.now, outcome))

    def change(self, table: Any, **values: Any) -> None:
        with self.store.write() as connection:
            connection.execute(update(table).values(**values))

    def answers(self) -> list[tuple[str, str]]:
        with self.store.read() as connection:
            rows = connection.execute(select(t.analyses.c.outcome, t.analyses.c.message))
            return [(outcome, message) for outcome, message in rows]


@pytest.fixture
def bench(tmp_path: Path, prometheus: Prometheus) -> Bench:
    return Bench(tmp_path, prometheus.url())


def test_a_figure_is_due_at_once_and_then_at_its_interval_until_it_passed(bench: Bench) -> None:
    assert bench.due() == ["rate"]
    bench.answer(Outcome.PASSED)
    assert (bench.due(), bench.next_at()) == ([], NOW + 300)
    bench.now += 300
    assert bench.due() == ["rate"]
    bench.answer(Outcome.PASSED)
    bench.now += 300
    assert (bench.due(), bench.next_at(), bench.state()) == ([], None, State.PASSED)


def test_figures_of_one_batch_are_asked_and_answered_apart(bench: Bench) -> None:
    head = bench.head(bench.rate, replace(bench.rate, name="disk"))
    bench.answer(Outcome.PASSED)
    assert bench.due(head) == ["disk"]


def test_answers_to_another_batch_and_from_before_do_not_count(bench: Bench) -> None:
    bench.now = NOW - 1
    bench.answer(Outcome.FAILED)
    bench.now = NOW
    with bench.store.write() as connection:
        analyses.write(connection, bench.run_seq, 1, "rate", Answer(NOW, Outcome.FAILED))
    assert bench.state() is State.ASKING
    assert bench.due() == ["rate"]


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (t.batches, {"analysis_from": None}),
        (t.batches, {"state": "failed"}),
        (t.batches, {"state": "passed"}),
        (t.runs, {"status": "paused"}),
        (t.runs, {"status": "cancelled"}),
        (t.runs, {"organization": "other"}),
        (t.runs, {"revision": "cd" * 32}),
        (t.runs, {"deployment": "gone"}),
    ],
)
def test_nothing_is_asked_for_a_batch_that_does_not_wait(
    bench: Bench, table: Any, values: dict[str, Any]
) -> None:
    assert bench.due() == ["rate"]
    bench.change(table, **values)
    assert bench.due() == []


def test_an_inconclusive_run_is_asked_for_though_its_hold_paused_it(bench: Bench) -> None:
    bench.answer(Outcome.UNKNOWN)
    bench.now += 300
    bench.answer(Outcome.UNKNOWN)
    assert bench.state() is State.INCONCLUSIVE
    bench.change(t.runs, status="paused")
    bench.now += 300
    assert bench.due() == []
    with bench.store.write() as connection:
        connection.execute(
            insert(t.holds).values(
                organization=ORGANIZATION, deployment="app", run_seq=bench.run_seq,
                reason="AnalysisInconclusive", message="", author="towline", since=bench.now,
            )
        )  # fmt: skip
    assert bench.due() == ["rate"]
    bench.answer(Outcome.PASSED)
    assert bench.state() is State.ASKING


def analyst(bench: Bench, on_answer: Callable[[], None] = lambda: None) -> Analyst:
    return Analyst(bench.store, bench.head, on_answer, lambda: bench.now, Fetcher(PATIENT))


@pytest.mark.parametrize(
    ("reply", "outcome", "message"),
    [
        (send(), "passed", "0.001 is < 0.01"),
        (send(body=b'{"rate": "0.5"}'), "failed", "0.5 is not < 0.01"),
        (send(body=b"<html>"), "unknown", "the answer is not JSON"),
        (send(500), "unknown", "the server answered 500"),
        (send(302, Location="/"), "unknown",
         "the server answered 302; no redirect is followed"),
        (send(body=b" " * 1001), "unknown", "the answer is larger than 1000 bytes"),
    ],
)  # fmt: skip
def test_each_answer_is_kept_and_makes_its_deployment_dirty(
    bench: Bench, prometheus: Prometheus, reply: Reply, outcome: str, message: str
) -> None:
    prometheus.replies["/"] = reply
    assert analyst(bench).ask_due() == 0
    assert bench.answers() == [(outcome, message)]
    with bench.store.write() as connection:
        assert dirt.take(connection, ORGANIZATION) == ["app"]


def test_nothing_is_asked_before_it_is_due(bench: Bench, prometheus: Prometheus) -> None:
    bench.answer(Outcome.PASSED)
    bench.now += 260
    assert analyst(bench).ask_due() == 40
    assert prometheus.asked == []


def test_the_thread_asks_what_becomes_due_and_wakes_the_reconciler(
    bench: Bench, prometheus: Prometheus
) -> None:
    bench.change(t.batches, analysis_from=None)
    looked, woken = threading.Event(), threading.Event()

    def head() -> Head:
        looked.set()
        return bench.head()

    asker = Analyst(bench.store, head, woken.set, lambda: bench.now, Fetcher(PATIENT))
    asker.start()
    assert looked.wait(10)
    bench.change(t.batches, analysis_from=NOW)
    asker.wake()
    assert woken.wait(10)
    asker.stop()
    assert bench.answers() == [("passed", "0.001 is < 0.01")]


def test_the_store_can_be_written_while_a_server_does_not_answer_and_stopping_cuts_it(
    bench: Bench, prometheus: Prometheus
) -> None:
    prometheus.replies["/"] = prometheus.drip(b"")
    asker = analyst(bench)
    asker.start()
    assert prometheus.stuck.wait(10)
    bench.change(t.batches, size=7)
    asker.stop()
    assert bench.answers() == [], "what we broke off ourselves is no answer"
    assert bench.due() == ["rate"]


def test_a_bug_is_logged_and_does_not_end_the_thread(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towline.reconciler.analyst.FAILED_REST_S", 0.0)
    calls: list[int] = []
    woken = threading.Event()

    def head() -> Head:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("a bug")
        return bench.head()

    asker = Analyst(bench.store, head, woken.set, lambda: bench.now, Fetcher(PATIENT))
    asker.start()
    assert woken.wait(10)
    asker.stop()
    assert bench.answers() == [("passed", "0.001 is < 0.01")]
