"""`serve` as a whole: a real git repository, one process per data folder, the right key."""

import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.postgres import Databases
from towline.manifests.remote import Remote
from towline.reconciler.server.serve import ProcessRole, ServeSettings, serve
from towline.reconciler.server.service import Service
from towline.schemas.enrolment import JoinString
from towline.schemas.keys import PrivateKey
from towline.schemas.problems import Problem
from towline.schemas.root import Role, Root


def make_fleet(fleet: Path, organization: str, online_key: Path) -> None:
    """A fleet repository of an organization, whose root names a new online key."""
    (fleet / "trust" / "root").mkdir(parents=True)
    keys = [PrivateKey.generate() for _ in range(3)]
    of_root, of_release, of_online = (Role((key.public,), 1) for key in keys)
    root = Root(1, organization, int(time.time()) + 10**7, of_root, of_release, of_online)
    (fleet / "trust" / "root" / "1.json").write_bytes(root.sign(keys[0]))
    online_key.write_bytes(keys[2].pem())
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    for command in (("init", "-q", "-b", "main"), ("add", "."), ("commit", "-qm", "Begin")):
        subprocess.run(["git", *identity, *command], cwd=fleet, check=True)


@pytest.fixture
def settings(tmp_path: Path) -> ServeSettings:
    """A fleet repository with a root, and its online key."""
    fleet = tmp_path / "fleet"
    make_fleet(fleet, "acme", tmp_path / "online.pem")
    (tmp_path / "packages").mkdir()
    return ServeSettings(
        organization="acme",
        repository=fleet,
        path="",
        branch="main",
        data=tmp_path / "data",
        host="127.0.0.1",
        port=0,
        is_lan=False,
        online_key=tmp_path / "online.pem",
        packages=tmp_path / "packages",
    )


@contextmanager
def serving(settings: ServeSettings) -> Iterator[list[str]]:
    """Serve in a thread; yields the announced lines."""
    lines: list[str] = []
    services: list[Service] = []
    failures: list[Problem] = []
    is_ready = threading.Event()

    def ready(service: Service) -> None:
        services.append(service)
        is_ready.set()

    def run() -> None:
        try:
            serve(settings, lines.extend, ready)
        except Problem as problem:
            failures.append(problem)
            is_ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    is_ready.wait()
    try:
        assert not failures, failures
        yield lines
    finally:
        for service in services:
            service.end()
        thread.join()


def client_of(settings: ServeSettings, lines: list[str]) -> httpx.Client:
    url = next(word for line in lines for word in line.split() if word.startswith("https://"))
    context = ssl.create_default_context(cafile=str(settings.data / "tls.crt"))
    return httpx.Client(base_url=url.removesuffix("/admin/edge/ota"), verify=context, timeout=30)


def test_the_first_start_makes_certificate_and_token_and_applies_the_branch(
    settings: ServeSettings,
) -> None:
    with serving(settings) as lines, client_of(settings, lines) as client:
        token_file = settings.data / "admin.token"
        assert token_file.stat().st_mode & 0o777 == 0o600
        assert (settings.data / "tls.key").stat().st_mode & 0o777 == 0o600
        headers = {"Authorization": f"Bearer {token_file.read_text().strip()}"}
        deadline = time.monotonic() + 30
        while True:
            repository = client.get("/api/v1/admin/ota/repository", headers=headers).json()
            if repository["applied_commit"] or time.monotonic() > deadline:
                break
            threading.Event().wait(0.05)
        assert repository["applied_commit"] is not None
        assert client.get("/api/v1/ota/root/1").status_code == 200


def test_a_second_start_keeps_certificate_and_token(settings: ServeSettings) -> None:
    kept = []
    for _ in range(2):
        with serving(settings):
            kept.append([(settings.data / n).read_bytes() for n in ("tls.crt", "admin.token")])
    assert kept[0] == kept[1]


def test_lan_prints_a_line_for_a_device(settings: ServeSettings) -> None:
    with serving(replace(settings, is_lan=True)) as lines:
        (line,) = [line for line in lines if "towline-agent enroll" in line]
        assert JoinString.parse(line.split("'")[1]).organization == "acme"


def test_a_data_folder_serves_one_process(settings: ServeSettings) -> None:
    told = f"another server uses the data folder .*: pid {os.getpid()}"
    with serving(settings), pytest.raises(Problem, match=told):
        serve(settings, lambda _: None)


def test_a_database_serves_several_processes_and_a_file_one(
    settings: ServeSettings, databases: Databases, tmp_path: Path
) -> None:
    over_postgres = replace(settings, store=databases.fresh())
    elsewhere = replace(over_postgres, data=tmp_path / "elsewhere")
    for role in (ProcessRole.ALL, ProcessRole.API):
        with (
            serving(over_postgres) as lines,
            serving(replace(elsewhere, role=role)) as others,
            client_of(over_postgres, lines) as client,
            client_of(elsewhere, others) as other,
        ):
            answers = [each.get("/healthz").json()["status"] for each in (client, other)]
            assert answers == ["ok", "ok"]
    told = "--role api shares its store with others, .* one process"
    with pytest.raises(Problem, match=told):
        serve(replace(settings, role=ProcessRole.API), lambda _: None)


def test_a_key_that_the_root_does_not_name_is_refused(settings: ServeSettings) -> None:
    settings.online_key.write_bytes(PrivateKey.generate().pem())
    with pytest.raises(Problem, match="may not sign documents"):
        serve(settings, lambda _: None)


def test_a_taken_port_is_a_problem(settings: ServeSettings) -> None:
    with serving(settings) as lines:
        port = int(lines[0].rpartition(":")[2])
        other = replace(settings, data=settings.data.parent / "other", port=port)
        with pytest.raises(Problem, match="cannot listen"):
            serve(other, lambda _: None)


def test_a_commit_must_not_say_itself_who_may_sign_it(settings: ServeSettings) -> None:
    assert isinstance(settings.repository, Path)
    inside = settings.repository / "signers"
    inside.write_text("ada@acme ssh-ed25519 AAAA\n")
    with pytest.raises(Problem, match="lies in the repository"):
        serve(replace(settings, allowed_signers=inside), lambda _: None)
    with pytest.raises(Problem, match="cannot be read"):
        serve(replace(settings, allowed_signers=settings.data / "gone"), lambda _: None)


def elsewhere(settings: ServeSettings) -> ServeSettings:
    """The same fleet, as a repository that must be fetched."""
    return replace(settings, repository=Remote(f"file://{settings.repository}"), git_interval_s=1)


def repository_once(
    settings: ServeSettings, client: httpx.Client, is_so: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """What the API says of the repository, once `is_so`."""
    token = (settings.data / "admin.token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    deadline = time.monotonic() + 30
    while True:
        found: dict[str, Any] = client.get("/api/v1/admin/ota/repository", headers=headers).json()
        if is_so(found):
            return found
        assert time.monotonic() < deadline, found
        threading.Event().wait(0.05)


def test_a_repository_elsewhere_is_fetched_and_followed(settings: ServeSettings) -> None:
    there = elsewhere(settings)
    fleet = settings.repository
    with serving(there) as lines, client_of(there, lines) as client:
        first = repository_once(there, client, lambda found: bool(found["applied_commit"]))
        identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
        commit = ["git", *identity, "commit", "-q", "--allow-empty", "-m", "Next"]
        subprocess.run(commit, cwd=str(fleet), check=True)
        repository_once(
            there, client, lambda found: found["applied_commit"] != first["applied_commit"]
        )


def test_an_outage_of_the_git_host_does_not_keep_the_server_down(settings: ServeSettings) -> None:
    there = elsewhere(settings)
    with serving(there) as lines, client_of(there, lines) as client:
        before = repository_once(there, client, lambda found: bool(found["applied_commit"]))
    assert isinstance(settings.repository, Path)
    settings.repository.rename(settings.repository.with_name("away"))
    with serving(there) as lines, client_of(there, lines) as client:
        found = repository_once(there, client, lambda found: bool(found["last_error"]))
        assert "there is no repository at file://" in found["last_error"]
        assert found["applied_commit"] == before["applied_commit"]
        assert client.get("/api/v1/ota/root/1").status_code == 200


def test_a_first_start_without_the_git_host_is_a_problem_with_its_remedy(
    settings: ServeSettings,
) -> None:
    away = replace(settings, repository=Remote("https://127.0.0.1:1/fleet"))
    with pytest.raises(Problem, match=r"cannot reach 127\.0\.0\.1"):
        serve(away, lambda _: None)


_PROGRAM = """
import sys
from pathlib import Path
from towline.manifests.remote import Remote
from towline.reconciler.server.serve import ProcessRole, ServeSettings, serve
base = Path(sys.argv[1])
serve(
    ServeSettings("acme", base / "fleet", "", "main", base / "data", "127.0.0.1", 0, False,
                  base / "online.pem", base / "packages"),
    lambda lines: print(lines[0], flush=True),
)
print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(settings: ServeSettings, number: signal.Signals) -> None:
    base = settings.data.parent
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(base)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        context = ssl.create_default_context(cafile=str(settings.data / "tls.crt"))
        assert httpx.get(f"{url}/healthz", verify=context, timeout=30).status_code == 200
        process.send_signal(number)
        rest = process.stdout.read()
    assert (process.returncode, rest.splitlines()[-1]) == (0, "ended")
