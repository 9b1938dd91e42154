"""Looking at a package: what is there, from where it may come, and an end in every case."""

import contextlib
import hashlib
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from towline.reconciler.server import package_look, tls
from towline.reconciler.server.package_look import CannotLook, Looked, LookLimits, PackageLook

CONTENT = b"a package" * 1000
FOUND = Looked(len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


class Files(BaseHTTPRequestHandler):
    """Serves the paths of the tests."""

    def do_GET(self) -> None:
        """Answer."""
        name, _, argument = self.path.strip("/").partition("/")
        getattr(self, f"send_{name}")(argument)

    def send_package(self, _: str) -> None:
        self.begin(200, {"Content-Length": str(len(CONTENT))})
        self.wfile.write(CONTENT)

    def send_cut(self, _: str) -> None:
        self.begin(200, {"Content-Length": str(len(CONTENT))})
        self.wfile.write(CONTENT[:100])

    def send_drip(self, _: str) -> None:
        self.begin(200, {"Content-Length": str(len(CONTENT))})
        for _each in range(100):
            self.wfile.write(b"x")
            time.sleep(0.05)

    def send_endless(self, _: str) -> None:
        self.begin(200, {})
        for _each in range(100):
            self.wfile.write(b"x")
            time.sleep(0.05)

    def send_gone(self, _: str) -> None:
        self.begin(410, {})

    def send_to(self, where: str) -> None:
        self.begin(302, {"Location": where})

    def begin(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def handle(self) -> None:
        """Whoever hangs up is expected."""
        with contextlib.suppress(OSError):
            super().handle()


@dataclass
class Elsewhere:
    """A server with a certificate of its own, and who vouches for it."""

    url: str
    authorities: ssl.SSLContext
    folder: Path
    limits: LookLimits = field(default_factory=lambda: LookLimits(deadline_s=0.5))

    def look(self, url: str, *hosts: str, limits: LookLimits | None = None) -> Looked:
        looking = PackageLook(self.folder, limits or self.limits, self.authorities)
        return looking.look(url, hosts or ("127.0.0.1",))


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    folder = tmp_path_factory.mktemp("look")
    certificate = tls.ensure(folder, [])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    authorities = ssl.create_default_context(cafile=str(certificate.certificate))
    (folder / "packages").mkdir()
    (folder / "packages" / "own.tar.gz").write_bytes(CONTENT)
    url = f"https://127.0.0.1:{server.server_address[1]}"
    yield Elsewhere(url, authorities, folder / "packages")
    server.shutdown()
    server.server_close()
    thread.join()


def test_size_and_checksum_of_what_is_there(elsewhere: Elsewhere) -> None:
    assert elsewhere.look(f"{elsewhere.url}/package/x.tar.gz") == FOUND
    assert elsewhere.look(f"{elsewhere.url}/package/x.tar.gz", "127.0.0.1") == FOUND
    assert elsewhere.look(f"{elsewhere.url}/to//package/x.tar.gz") == FOUND
    assert elsewhere.look("own.tar.gz", "cdn.example.com") == FOUND


@pytest.mark.parametrize(
    ("url", "hosts", "words"),
    [
        ("{url}/gone", (), "the server answered 410"),
        ("{url}/cut", (), "no whole answer .it broke off"),
        ("{url}/drip", (), "it was not there within 0.5 s"),
        ("{url}/endless", (), "it was not there within 0.5 s"),
        ("{url}/package", ("cdn.example.com",), "the Policy allows no packages from 127.0.0.1"),
        ("{url}/to/http://127.0.0.1/", (), "packages come over https"),
        ("{url}/to/https://localhost:1/", ("127.0.0.1",), "no packages from localhost"),
        ("{url}/to//to//to//to//to//package", (), "it leads on more than 3 times"),
        ("http://127.0.0.1/x", (), "packages come over https"),
        ("file:///etc/passwd", (), "packages come over https"),
        ("https://me:secret@127.0.0.1/x", (), "without a password"),
        ("https://127.0.0.1:1/x", (), "no whole answer"),
        ("../online.pem", (), "there is no ../online.pem"),
        ("none.tar.gz", (), "there is no none.tar.gz below the server's /packages/"),
    ],
)
def test_what_cannot_be_looked_at_is_said(
    elsewhere: Elsewhere, url: str, hosts: tuple[str, ...], words: str
) -> None:
    began = time.monotonic()
    with pytest.raises(CannotLook, match=words):
        elsewhere.look(url.format(url=elsewhere.url), *hosts)
    assert time.monotonic() - began < 3


def test_a_stranger_s_certificate_is_not_believed(elsewhere: Elsewhere) -> None:
    with pytest.raises(CannotLook, match="the server's certificate"):
        PackageLook(None).look(f"{elsewhere.url}/package", ("127.0.0.1",))


@pytest.mark.parametrize(
    "place",
    ["127.0.0.1:{port}", "2130706433:{port}", "0x7f.1:{port}", "[::1]:{port}", "localhost:{port}"],
)
def test_unless_the_policy_names_it_no_neighbour_of_the_server_is_asked(
    elsewhere: Elsewhere, place: str
) -> None:
    """What the name leads to counts, so that no name can be made to lead there later."""
    port = elsewhere.url.rpartition(":")[2]
    looking = PackageLook(elsewhere.folder, elsewhere.limits, elsewhere.authorities)
    with pytest.raises(CannotLook, match="no package is looked at there"):
        looking.look(f"https://{place.format(port=port)}/package", ())
    with pytest.raises(CannotLook, match="packages come over https"):
        looking.look("http://169.254.169.254/latest/meta-data", ())
    assert looking.look(f"{elsewhere.url}/package", ("127.0.0.1",)) == FOUND


def test_what_is_too_large_and_a_server_that_stops_end_it(elsewhere: Elsewhere) -> None:
    with pytest.raises(CannotLook, match="larger than 100 bytes"):
        elsewhere.look("own.tar.gz", limits=LookLimits(size_bytes=100))
    with pytest.raises(CannotLook, match="stopping"):
        PackageLook(elsewhere.folder, is_stopping=lambda: True).look("own.tar.gz", ())
    with pytest.raises(CannotLook, match=r"there is no own\.tar\.gz"):
        PackageLook(None).look("own.tar.gz", ())


def test_what_times_out_and_what_cannot_be_read_is_said(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package_look, "find_package", lambda folder, _: (folder, 1))
    with pytest.raises(CannotLook, match=r"a\.tar\.gz cannot be read: Is a directory"):
        elsewhere.look("a.tar.gz")

    def late(*_: object) -> Looked:
        raise TimeoutError

    monkeypatch.setattr(PackageLook, "_fetch", late)
    with pytest.raises(CannotLook, match=r"it was not there within 0\.5 s"):
        elsewhere.look(f"{elsewhere.url}/package")


def test_only_so_many_are_looked_at_at_once(elsewhere: Elsewhere) -> None:
    limits = LookLimits(deadline_s=1.0, at_once=1)
    looking = PackageLook(elsewhere.folder, limits, elsewhere.authorities)
    said: list[str] = []

    def drip() -> None:
        try:
            looking.look(f"{elsewhere.url}/drip", ("127.0.0.1",))
        except CannotLook as error:
            said.append(str(error))

    thread = threading.Thread(target=drip)
    thread.start()
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        try:
            looking.look("own.tar.gz", ())
        except CannotLook as error:
            assert "other packages are being looked at" in str(error)
            break
    thread.join()
    assert looking.look("own.tar.gz", ()) == FOUND
    assert "not there within 1 s" in said[0]
