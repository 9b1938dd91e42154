"""Where a run comes from: the commit's manifest, and how it differs from the run before."""

from typing import Any

from sqlalchemy import Connection, Row

from towline.reconciler.manifest_diff import manifest_diff
from towline.reconciler.server.desk import Desk
from towline.reconciler.server.manifest_texts import ManifestTexts
from towline.reconciler.store import reading_history


def provenance(
    connection: Connection, desk: Desk, texts: ManifestTexts | None, run: Row[Any]
) -> dict[str, Any]:
    """The manifest's file, the commit it is compared with, and the lines that differ.

    `diff` is None where the manifest cannot be read (any more).
    """
    head = desk.head()
    if texts is None or head is None or head.organization != run.organization:
        return {"file": "", "former_commit": "", "diff": None, "has_manifest": False}
    manifest = head.deployments.get(run.deployment)
    file = manifest.file if manifest is not None else f"deployments/{run.deployment}.yaml"
    former = reading_history.former_run(connection, run)
    commit = str(former.source_commit) if former is not None else ""
    after = texts.text(run.source_commit, file)
    before = (texts.text(commit, file) if commit else None) or ""
    return {
        "file": file,
        "has_manifest": manifest is not None,
        "former_commit": commit,
        "diff": None if after is None else manifest_diff(before, after),
    }
