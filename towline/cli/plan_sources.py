"""Where a plan comes from: asked of the server, or made here over a store or an inventory."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from towline.cli.client import connect
from towline.cli.plan_commits import Asked, CommitFiles, files_at
from towline.cli.settings import Settings
from towline.manifests.load import is_manifest_path, load
from towline.reconciler.store.address import place_of
from towline.schemas.problems import Problem

BODY_LIMIT = 1024 * 1024
"""What the server takes in from people."""


def from_server(
    asked: Asked, head: CommitFiles, base: CommitFiles | None, *, names: bool, record: bool
) -> dict[str, Any]:
    """The document of a plan that the server makes; raises Problem."""
    body: dict[str, Any] = {
        "head": _sent(head),
        "base": _sent(base) if base else None,
        "names": names,
        "only": list(asked.names),
        "record": record,
    }
    size = sum(len(data) for each in (head, base) if each for data in _needed(each).values())
    if size > BODY_LIMIT * 9 // 10:
        raise Problem(
            f"the manifests and statements are too large for the server: {size} bytes",
            remedy="plan with --store towline.db or --inventory inventory.json",
        )
    return connect().post("/plan", **body)


def _sent(commit: CommitFiles) -> dict[str, Any]:
    files = {path: data.decode("utf-8", "replace") for path, data in _needed(commit).items()}
    return {"commit": commit.commit, "files": files}


def _needed(commit: CommitFiles) -> Mapping[str, bytes]:
    """Statements of versions that no Deployment names stay here: a repository keeps them for ever.

    The server knows those of what is in force.
    """
    loaded = load(commit.files)
    named = {
        f"releases/{each.component}/{version}/"
        for each in loaded.deployments.values()
        for version in (each.target_version, *(arm.target_version for arm in each.arms))
    }
    return {
        path: data
        for path, data in commit.files.items()
        if is_manifest_path(path)
        or path.startswith("trust/")
        or any(path.startswith(folder) for folder in named)
    }


def from_store(
    settings: Settings, named: str, asked: Asked, head: CommitFiles, *, names: bool
) -> dict[str, Any]:
    """A plan made here over a server's store; raises Problem."""
    from towline.reconciler.store.plan_reading import commit_in_force  # noqa: PLC0415 heavy
    from towline.reconciler.store.private_copy import copy_of  # noqa: PLC0415

    organization = _organization(settings)
    store = copy_of(place_of(named))
    with store.read() as connection:
        in_force = commit_in_force(connection, organization)
    base = asked.base or in_force
    return _make(store, settings, base, head, asked, names=names, source="store")


def from_inventory(
    settings: Settings, file: Path, asked: Asked, head: CommitFiles, *, names: bool
) -> dict[str, Any]:
    """A plan made here over an exported inventory; raises Problem."""
    from towline.reconciler.inventory_file import read_inventory, store_of  # noqa: PLC0415 heavy

    organization = _organization(settings)
    devices = read_inventory(file)
    base = _head(settings, asked.base, organization)
    store = store_of(devices, organization, base, int(time.time()))
    return _make(store, settings, asked.base, head, asked, names=names, source="inventory")


def _make(
    store: Any,
    settings: Settings,
    base: str | None,
    head: CommitFiles,
    asked: Asked,
    *,
    names: bool,
    source: str,
) -> dict[str, Any]:
    from towline.reconciler.head import CommitSeen  # noqa: PLC0415 heavy
    from towline.reconciler.head_reading import read_head  # noqa: PLC0415
    from towline.reconciler.planning import PlanOptions, make_plan  # noqa: PLC0415

    organization = _organization(settings)
    before = _head(settings, base, organization)
    kept = before.deployments if before else None
    read = read_head(head.files, CommitSeen(head.commit), organization, kept)
    options = PlanOptions(
        now=int(time.time()),
        poll_interval_s=settings.poll_interval,
        source=source,
        names=names,
        only=asked.names,
    )
    return make_plan(store, before, read, options).document()


def _head(settings: Settings, commit: str | None, organization: str) -> Any:
    from towline.reconciler.head import CommitSeen  # noqa: PLC0415 heavy
    from towline.reconciler.head_reading import read_head  # noqa: PLC0415

    if commit is None:
        return None
    return read_head(files_at(settings, commit).files, CommitSeen(commit), organization).head


def _organization(settings: Settings) -> str:
    assert settings.organization is not None
    return settings.organization
