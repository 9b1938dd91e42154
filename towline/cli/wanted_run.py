"""Which run a commit asks for: a former one must never be judged in its place.

A commit is applied first and its runs begin a pass later, and one that changes nothing of a
Deployment begins none; so the run is known by the revision that the manifest has at the commit.
Away from a fleet repository only the commit that began the run is known.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from towline.cli.client import Client
from towline.cli.settings import Settings, load
from towline.cli.working_copy import WorkingCopy
from towline.manifests.load import load as load_manifests
from towline.manifests.repository import Repository
from towline.schemas.problems import Problem


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the person waits for."""

    commit: str
    """A whole id, or the beginning of one away from a fleet repository."""
    revision: str | None = None
    """What the Deployment delivers at the commit; None where that is not known."""
    repository: Repository | None = None


def wanted_here(name: str | None, commit: str | None) -> Wanted | None:
    """What `commit`, or HEAD of the fleet repository here, wants; None when nothing names one.

    Raises Problem when the manifest of `name` is broken or missing at the commit.
    """
    settings = load()
    copy = WorkingCopy(settings.repository)
    if settings.organization is None or not copy.is_there():
        return Wanted(commit) if commit else None
    sha = copy.git("rev-parse", "--verify", "--quiet", f"{commit or 'HEAD'}^{{commit}}")
    repository = Repository(settings.repository, settings.path, settings.branch)
    revision = _revision(repository, settings, sha, name) if name else None
    return Wanted(sha, revision, repository)


def _revision(repository: Repository, settings: Settings, sha: str, name: str) -> str:
    loaded = load_manifests(repository.read(sha))
    if name in loaded.deployments:
        return loaded.deployments[name].revision
    errors = [str(error) for error in loaded.errors if error.name in (name, None)]
    if name in loaded.broken and errors:
        raise Problem(f"{name} is broken at commit {sha[:12]}:\n" + "\n".join(errors))
    raise Problem(
        f"commit {sha[:12]} has no Deployment {name}",
        remedy=f"there are: {', '.join(sorted(loaded.deployments)) or 'none'}",
    )


def is_applied(wanted: Wanted, repository: Mapping[str, Any]) -> bool:
    """True when the server applied the commit or a later one; raises Problem when it is held."""
    applied = repository["applied_commit"] or ""
    if applied.startswith(wanted.commit):
        return True
    if (repository["held_commit"] or "").startswith(wanted.commit):
        raise Problem(
            f"the server holds commit {wanted.commit[:12]}: {repository['hold_reason']}",
            remedy=f"towline repo accept {wanted.commit} --reason TEXT",
        )
    return bool(applied and wanted.repository and _is_past(wanted.repository, wanted, applied))


def _is_past(repository: Repository, wanted: Wanted, applied: str) -> bool:
    """The server may know commits that are not fetched here: then it is not known to be past."""
    try:
        return repository.is_ancestor(wanted.commit, applied)
    except Problem:
        return False


def choose(
    runs: Iterable[Mapping[str, Any]], wanted: Wanted, applied: str
) -> Mapping[str, Any] | None:
    """The run that the commit asks for among one Deployment's, newest first; None: not yet there.

    While the commit is in force only the newest run counts: after a revert, a former run of the
    same revision lies below. Once a later commit is in force, the run of this one may lie below.
    """
    listed = list(runs)
    is_in_force = applied.startswith(wanted.commit)
    for run in listed[:1] if is_in_force and wanted.revision else listed:
        is_it = (
            run["revision"] == wanted.revision
            if wanted.revision
            else run["commit"].startswith(wanted.commit)
        )
        if is_it:
            return run
    return None


def find_run(client: Client, name: str, wanted: Wanted | None) -> dict[str, Any] | str:
    """The detail of the run to look at, or in words what it still waits for."""
    if wanted is None:
        return client.newest_run(name)
    repository = client.get("/repository")
    if not is_applied(wanted, repository):
        why = f": {repository['last_error']}" if repository["last_error"] else ""
        return f"the server has not applied commit {wanted.commit[:12]} yet{why}"
    listed = client.get("/deployments", name=name, page_size=100)["deployments"]
    run = choose(listed, wanted, repository["applied_commit"])
    if run is None:
        return f"the run of {name} at commit {wanted.commit[:12]} has not begun yet"
    return client.run(run["id"])
