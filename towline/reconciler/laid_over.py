"""What people laid over a manifest: in force is the override, else git."""

from dataclasses import replace

from sqlalchemy import Connection

from towline.manifests.model import StrategyKind
from towline.reconciler.head import Head
from towline.reconciler.store.overrides import named_devices


def with_overrides(connection: Connection, head: Head, deployment: str) -> Head:
    """The head with the devices that people named for a Deployment of strategy manual."""
    manifest = head.deployments.get(deployment)
    if manifest is None or manifest.strategy is not StrategyKind.MANUAL:
        return head
    added = named_devices(connection, head.organization, deployment)
    if not added:
        return head
    devices = tuple(sorted({*manifest.ownership.devices, *added}))
    named = replace(manifest, ownership=replace(manifest.ownership, devices=devices))
    return replace(head, deployments={**head.deployments, deployment: named})
