"""A real git host over TLS: `git http-backend` behind a small server with basic authentication."""

import base64
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class GitHost:
    """The host, and what a test may change of it while it runs."""

    base: str
    """https://127.0.0.1:PORT"""
    folder: Path
    """Repositories below it are served by their path."""
    ca_file: Path
    port: int = 0
    logins: set[str] = field(default_factory=set)
    """`user:password`; empty: everyone may read."""
    redirect: str = ""
    """Send every request to this base instead."""
    is_silent: bool = False
    """Take requests and answer none until `release`."""
    release: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)
    """The Authorization header of each request."""


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "git host")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "host.crt", folder / "host.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


@contextmanager
def git_host(folder: Path) -> Iterator[GitHost]:
    """Serve the repositories below `folder` until the block ends."""
    certificate, key = make_certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    host = GitHost("", folder, certificate)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _answering(host))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    host.port = server.server_address[1]
    host.base = f"https://127.0.0.1:{host.port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield host
    finally:
        host.release.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _answering(host: GitHost) -> type[BaseHTTPRequestHandler]:
    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(host, self)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    return Answering


def _answer(host: GitHost, request: BaseHTTPRequestHandler) -> None:
    header = request.headers.get("Authorization", "")
    host.asked.append(header)
    if host.is_silent:
        host.release.wait()
    if host.redirect:
        request.send_response(301)
        request.send_header("Location", host.redirect + request.path)
        request.send_header("Content-Length", "0")
        request.end_headers()
    elif host.logins and _login(header) not in host.logins:
        request.send_response(401)
        request.send_header("WWW-Authenticate", 'Basic realm="git"')
        request.send_header("Content-Length", "0")
        request.end_headers()
    else:
        _ask_backend(host, request)


def _login(header: str) -> str:
    return base64.b64decode(header.removeprefix("Basic ")).decode()


def _ask_backend(host: GitHost, request: BaseHTTPRequestHandler) -> None:
    """The CGI side of git's own smart HTTP server."""
    path, _, query = request.path.partition("?")
    body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
    variables = {
        "PATH": os.environ["PATH"],
        "GIT_PROJECT_ROOT": str(host.folder),
        "GIT_HTTP_EXPORT_ALL": "1",
        "REQUEST_METHOD": request.command,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
    }
    answer = subprocess.run(
        ["git", "http-backend"], input=body, env=variables, capture_output=True, check=True
    ).stdout
    head, _, content = answer.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
    request.send_response(int(headers.pop("Status", "200").split()[0]))
    for name, value in headers.items():
        request.send_header(name, value)
    # Without its length the content ends with the connection, which GnuTLS takes for a cut.
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)
