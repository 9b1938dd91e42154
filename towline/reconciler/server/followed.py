"""The repository that the server follows: one on this machine, or a mirror that is kept fetched."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from towline.manifests.mirror import Mirror
from towline.manifests.remote import Remote
from towline.manifests.repository import Repository
from towline.reconciler.fetching import Fetching
from towline.schemas.problems import Problem

MIRRORS = "mirrors"

log = structlog.get_logger()


def open_repository(source: Path | Remote, folder: str, branch: str, mirrors: Path) -> Repository:
    """The repository; one elsewhere is fetched once, and its `head` tells how that went."""
    if isinstance(source, Path):
        return Repository(source, folder, branch)
    mirror = Mirror(source, mirrors, folder, branch)
    log.info("git.fetching", url=mirror.source, branch=branch)
    with suppress(Problem):
        mirror.fetch(int(time.time()))
    return mirror


@contextmanager
def fetching(repository: Repository, interval_s: int) -> Iterator[None]:
    """Fetch a repository elsewhere at each interval until the block ends."""
    if not isinstance(repository, Mirror):
        yield
        return
    thread = Fetching(repository, interval_s)
    thread.start()
    try:
        yield
    finally:
        thread.stop()
