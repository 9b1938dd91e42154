"""The repository that the server follows: one on this machine, or a mirror that is kept fetched."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from towline.manifests.mirror import Mirror
from towline.manifests.remote import Remote
from towline.manifests.repository import Repository
from towline.manifests.signatures import readable
from towline.reconciler.fetching import Fetching
from towline.reconciler.server.founding import FleetSettings
from towline.schemas.problems import Problem

MIRRORS = "mirrors"

log = structlog.get_logger()


def open_repository(settings: FleetSettings, mirrors: Path) -> Repository:
    """The repository; one elsewhere is fetched once, and its `head` tells how that went.

    Raises Problem when those who may sign its commits are not known.
    """
    source, signers = settings.repository, settings.allowed_signers
    place = (settings.path, settings.branch, signers)
    if signers is not None:
        _check_signers(signers, source)
    if isinstance(source, Path):
        return Repository(source, *place)
    mirror = Mirror(source, mirrors, *place)
    log.info("git.fetching", url=mirror.source, branch=settings.branch)
    with suppress(Problem):
        mirror.fetch(int(time.time()))
    return mirror


def _check_signers(file: Path, source: Path | Remote) -> None:
    """A commit must not be able to say who may sign it."""
    if isinstance(source, Path) and file.resolve().is_relative_to(source.resolve()):
        raise Problem(
            f"allowed_signers, {file}, lies in the repository whose commits it vouches for",
            remedy="keep it where only the server's operator writes, as /etc/towline/signers",
        )
    readable(file)


@contextmanager
def fetching(
    repository: Repository, interval_s: int, on_fetched: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Fetch a repository elsewhere at each interval until the block ends."""
    if not isinstance(repository, Mirror):
        yield
        return
    thread = Fetching(repository, interval_s, on_fetched=on_fetched)
    thread.start()
    try:
        yield
    finally:
        thread.stop()
