"""URLs of repositories elsewhere: what is taken, and that no secret is part of one."""

from pathlib import Path

import pytest

from towline.manifests.remote import Remote, checked_proxy, checked_url, is_url
from towline.schemas.problems import Problem


@pytest.mark.parametrize(
    ("url", "scheme", "host"),
    [
        ("https://git.example.com/fleet.git", "https", "git.example.com"),
        ("https://git.example.com:8443/a/fleet", "https", "git.example.com"),
        ("https://[2001:db8::1]/fleet", "https", "2001:db8::1"),
        ("ssh://git@git.example.com:2222/fleet.git", "ssh", "git.example.com"),
        ("git@git.example.com:team/fleet.git", "ssh", "git.example.com"),
        ("file:///srv/git/fleet.git", "file", ""),
    ],
)
def test_a_url_tells_how_and_whom(url: str, scheme: str, host: str) -> None:
    assert is_url(url)
    remote = Remote(checked_url(url))
    assert (remote.scheme, remote.host) == (scheme, host)


@pytest.mark.parametrize("folder", [".", "fleet", "/srv/git/fleet.git", "../a:b", "a:b", "C:\\x"])
def test_a_folder_is_no_url(folder: str) -> None:
    assert not is_url(folder)


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("https://ada:s3cret@git.example.com/fleet", "repository.password_file"),
        ("https://s3cret@git.example.com/fleet", "repository.password_file"),
        ("https://:s3cret@git.example.com/fleet", "repository.password_file"),
        ("https://git.example.com/fleet?token=s3cret", "repository.password_file"),
        ("https://git.example.com/fleet#s3cret", "repository.password_file"),
        ("ssh://git:s3cret@git.example.com/fleet", "repository.ssh_key"),
        ("git:s3cret@git.example.com:fleet", "https://HOST/PATH"),
        ("http://ada:s3cret@git.example.com/fleet", "https:// or ssh://"),
        ("https://ada:s3cret@/fleet", "https://HOST/PATH"),
        ("https://ada:s3cret@git.example.com:x/fleet", "https://HOST/PATH"),
        ("ext://s3cret", "https://HOST/PATH"),
    ],
)
def test_a_url_with_a_secret_is_refused_without_repeating_it(url: str, remedy: str) -> None:
    with pytest.raises(Problem) as refused:
        checked_url(url)
    assert "s3cret" not in str(refused.value)
    assert remedy in refused.value.remedy


@pytest.mark.parametrize(
    "url",
    [
        "git://git.example.com/fleet",
        "ext::sh -c touch% /tmp/x",
        "--upload-pack=touch",
        "https://",
        "https://git.example.com",
        "https://-oProxyCommand=x/fleet",
        "ssh://-oProxyCommand=x/fleet",
        "git@-oProxyCommand=x:fleet",
        "-git@git.example.com:fleet",
        "https://git.example.com/fleet\n",
        "https://git.exämple.com/fleet",
        "file://fleet",
        "",
    ],
)
def test_what_git_must_not_be_given_is_refused(url: str) -> None:
    with pytest.raises(Problem):
        checked_url(url)


def test_a_setting_that_the_url_has_no_use_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"repository\.ssh_key is for ssh"):
        Remote("https://git.example.com/fleet", ssh_key=tmp_path)
    with pytest.raises(Problem, match=r"repository\.password is for https"):
        Remote("git@git.example.com:fleet", password="s3cret")


def test_the_password_is_read_from_its_file_each_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    remote = Remote("https://git.example.com/fleet", password_file=file)
    for token in ("first", "second"):
        file.write_text(f"{token}\n")
        assert remote.secret() == token


@pytest.mark.parametrize("content", [None, b"", b"\n", b"a\nb\n", b"a\0b", b"\xff"])
def test_a_password_file_that_holds_no_password_is_a_problem(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Problem, match="password"):
        Remote("https://git.example.com/fleet", password_file=file).secret()


def test_secrets_are_not_in_what_is_logged() -> None:
    remote = Remote(
        "https://git.example.com/fleet", password="s3cret", proxy="http://ada:s3cret@proxy:3128"
    )
    assert "s3cret" not in repr(remote)


def test_a_proxy_may_hold_a_password_only_where_git_does_not_keep_it() -> None:
    proxy = "http://ada:s3cret@proxy:3128"
    assert checked_proxy(proxy, may_hold_password=True) == proxy
    assert checked_proxy("http://proxy:3128", may_hold_password=False) == "http://proxy:3128"
    with pytest.raises(Problem, match="holds a user or a password") as refused:
        checked_proxy(proxy, may_hold_password=False)
    assert "TOWLINE_REPOSITORY_PROXY" in refused.value.remedy
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "proxy", ["proxy", "proxy:3128", "http://proxy", "ftp://proxy:21", "http://a:b"]
)
def test_what_is_no_proxy_is_refused(proxy: str) -> None:
    with pytest.raises(Problem, match="no URL of a proxy"):
        checked_proxy(proxy, may_hold_password=True)
