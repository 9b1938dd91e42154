"""Getting in over TLS: passwords, certificates, proxies, and whose configuration counts."""

import base64
from dataclasses import replace
from pathlib import Path

import pytest

from tests.manifests.git_server import GitHost, git_host
from tests.manifests.hosted import NOW, Fleet, failure, over_https, sprung, trap
from towline.manifests.remote import Remote


def test_the_password_is_told_to_the_host_and_to_nobody_else(
    hosted: Fleet, host: GitHost, tmp_path: Path
) -> None:
    secret = "a'b\"$HOME `id` \\n%s"
    host.logins = {f"deploy:{secret}"}
    hosted.commit("a: 1")
    file = tmp_path / "token"
    file.write_text(f"{secret}\n")
    mirror = hosted.mirror(replace(over_https(host), username="deploy", password_file=file))
    mirror.fetch(NOW)
    login = base64.b64encode(f"deploy:{secret}".encode()).decode()
    assert f"Basic {login}" in host.asked
    for kept in filter(Path.is_file, mirror.path.rglob("*")):
        assert secret.encode() not in kept.read_bytes()


def test_a_token_alone_is_enough(hosted: Fleet, host: GitHost) -> None:
    host.logins = {"git:t0ken"}
    head = hosted.commit("a: 1")
    mirror = hosted.mirror(replace(over_https(host), password="t0ken"))
    mirror.fetch(NOW)
    assert mirror.head() == head


def test_without_credentials_nobody_is_asked_and_the_remedy_names_the_settings(
    hosted: Fleet, host: GitHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.logins = {"git:t0ken"}
    for name in ("GIT_ASKPASS", "SSH_ASKPASS"):
        monkeypatch.setenv(name, trap(hosted))
    refused = failure(hosted.mirror(over_https(host)))
    assert "not authorised" in refused.what
    assert "repository.password_file" in refused.remedy
    assert not sprung(hosted)


def test_a_wrong_password_is_not_authorised(hosted: Fleet, host: GitHost) -> None:
    host.logins = {"git:t0ken"}
    refused = failure(hosted.mirror(replace(over_https(host), password="0ld")))
    assert "not authorised" in refused.what
    assert "renew" in refused.remedy
    assert "0ld" not in str(refused)


def test_a_certificate_that_nobody_vouches_for_is_refused(hosted: Fleet, host: GitHost) -> None:
    refused = failure(hosted.mirror(Remote(f"{host.base}/fleet")))
    assert "certificate of 127.0.0.1 is not trusted" in refused.what
    assert "repository.ca_file" in refused.remedy


def test_a_ca_file_that_is_none_is_named(hosted: Fleet, host: GitHost, tmp_path: Path) -> None:
    remote = replace(over_https(host), ca_file=tmp_path / "gone.pem")
    assert "gone.pem cannot be read" in failure(hosted.mirror(remote)).what


def test_a_moved_repository_gets_no_password(hosted: Fleet, host: GitHost, tmp_path: Path) -> None:
    hosted.commit("a: 1")
    (tmp_path / "other").mkdir()
    with git_host(tmp_path / "other") as other:
        host.redirect = other.base
        moved = failure(hosted.mirror(replace(over_https(host), password="t0ken")))
        assert "has moved" in moved.what
        assert not other.asked


def test_a_proxy_that_does_not_let_through_is_named(hosted: Fleet, host: GitHost) -> None:
    proxy = f"https://127.0.0.1:{host.port}"
    refused = failure(hosted.mirror(replace(over_https(host), proxy=proxy)))
    assert "proxy" in str(refused)


def test_no_configuration_of_the_user_counts(
    hosted: Fleet, host: GitHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.logins = {"git:t0ken"}
    head = hosted.commit("a: 1")
    home = tmp_path / "home"
    home.mkdir()
    (home / ".netrc").write_text("machine 127.0.0.1 login git password t0ken\n")
    (home / ".netrc").chmod(0o600)
    (home / ".gitconfig").write_text(
        f"[core]\n\thooksPath = {home}\n\tfsmonitor = {trap(hosted)}\n"
        f'[credential]\n\thelper = "!{trap(hosted)}"\n'
        '[url "https://127.0.0.1:1/"]\n\tinsteadOf = https://127.0.0.1\n'
    )
    (home / "reference-transaction").symlink_to(trap(hosted))
    monkeypatch.setenv("HOME", str(home))
    for name in ("https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("GIT_SSL_NO_VERIFY", "1")
    assert "not authorised" in failure(hosted.mirror(over_https(host))).what
    assert "is not trusted" in failure(hosted.mirror(Remote(f"{host.base}/fleet"))).what
    mirror = hosted.mirror(replace(over_https(host), password="t0ken"))
    mirror.fetch(NOW)
    assert mirror.head() == head
    assert not sprung(hosted)
