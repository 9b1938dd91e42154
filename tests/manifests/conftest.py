"""A hosted repository for each test that asks for one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.manifests.git_server import GitHost, git_host
from tests.manifests.hosted import Fleet


@pytest.fixture
def hosted(tmp_path: Path) -> Fleet:
    """A repository without a commit."""
    return Fleet(tmp_path)


@pytest.fixture
def host(hosted: Fleet) -> Iterator[GitHost]:
    """The host that serves it over TLS."""
    with git_host(hosted.folder.parent) as serving:
        yield serving
