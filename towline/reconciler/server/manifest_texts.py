"""Texts of manifests at commits, for pages: what a commit holds never changes, so it is kept."""

from functools import lru_cache

from towline.manifests.repository import Repository
from towline.schemas.problems import Problem

_KEPT = 256


class ManifestTexts:
    """Of one repository; safe to use from any thread."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._read = lru_cache(maxsize=_KEPT)(self._read_anew)

    def text(self, sha: str, path: str) -> str | None:
        """The file at that commit; None where there is none, or the commit is not there."""
        try:
            return self._read(sha, path)
        except Problem:
            return None

    def _read_anew(self, sha: str, path: str) -> str | None:
        found = self._repository.read_files(sha, lambda each: each == path)
        return found[path].decode("utf-8", "replace") if path in found else None
