"""Package files: whole, in part, and nothing beside them."""

from pathlib import Path

import pytest

from tests.server.conftest import Running


def test_a_download_resumes_where_it_was_cut_off(server: Running) -> None:
    (server.packages / "a b.tar.gz").write_bytes(bytes(range(256)))
    whole = server.client.get("/packages/a%20b.tar.gz")
    assert (whole.status_code, whole.content) == (200, bytes(range(256)))
    assert whole.headers["accept-ranges"] == "bytes"
    headers = {"Range": "bytes=200-", "If-Range": whole.headers["etag"]}
    rest = server.client.get("/packages/a%20b.tar.gz", headers=headers)
    assert (rest.status_code, rest.content) == (206, bytes(range(200, 256)))
    assert rest.headers["content-range"] == "bytes 200-255/256"


def test_a_file_that_changed_since_is_sent_whole(server: Running) -> None:
    (server.packages / "a.tar.gz").write_bytes(b"new")
    headers = {"Range": "bytes=1-", "If-Range": '"old"'}
    answer = server.client.get("/packages/a.tar.gz", headers=headers)
    assert (answer.status_code, answer.content) == (200, b"new")


def test_a_range_beyond_the_end_is_416(server: Running) -> None:
    (server.packages / "a.tar.gz").write_bytes(b"abc")
    assert server.client.get("/packages/a.tar.gz", headers={"Range": "bytes=3-"}).status_code == 416


@pytest.mark.parametrize(
    "name", ["..%2fsecret", "%2e%2e/secret", "%2fetc%2fpasswd", "link", "folder", "", "a%00b", "."]
)
def test_nothing_outside_the_folder_is_served(server: Running, name: str) -> None:
    secret: Path = server.packages.parent / "secret"
    secret.write_bytes(b"secret")
    (server.packages / "link").symlink_to(secret)
    (server.packages / "folder").mkdir()
    assert server.client.get(f"/packages/{name}").status_code == 404


def test_packages_are_read_only(server: Running) -> None:
    assert server.client.post("/packages/a", content=b"x").status_code == 405
