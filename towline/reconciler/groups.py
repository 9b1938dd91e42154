"""The DeviceGroups in force, as people see them: what each asks for and how many devices it has."""

from typing import Any

from sqlalchemy import Connection

from towline.manifests.model import DeviceGroup, Expression, Ownership
from towline.reconciler.head import Head
from towline.reconciler.store.reading_groups import count_owned


def groups(connection: Connection, head: Head) -> list[dict[str, Any]]:
    """By name: `{"name", "file", "devices", "filters", "deployments"}`."""
    return [_group(connection, head, group) for _, group in sorted(head.groups.items())]


def _group(connection: Connection, head: Head, group: DeviceGroup) -> dict[str, Any]:
    return {
        "name": group.name,
        "file": group.file,
        "devices": count_owned(connection, head.organization, group.ownership),
        "filters": _filters(group.ownership),
        "deployments": sorted(
            name
            for name, manifest in head.deployments.items()
            if group.name in manifest.ownership.groups
        ),
    }


def _filters(ownership: Ownership) -> dict[str, Any]:
    """As manifests write them; what is empty is left out."""
    found: dict[str, Any] = {
        "device_type": list(ownership.device_types),
        "labels": {key: "|".join(values) for key, values in ownership.labels},
        "expressions": [_expression(each) for each in ownership.expressions],
        "devices": list(ownership.devices),
        "exclude": list(ownership.exclude),
    }
    return {key: value for key, value in found.items() if value}


def _expression(each: Expression) -> str:
    return " ".join([each.key, each.operator.value, *each.values])
