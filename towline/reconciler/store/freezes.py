"""The Freezes in force, kept so that a device's document is built from the store alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from towline.manifests.filters import FilterableDevice, owns
from towline.manifests.model import Expression, Operator, Ownership
from towline.manifests.model_policy import Freeze
from towline.reconciler.store.tables import freezes
from towline.schemas import window_words
from towline.schemas.windows import Window


def replace(connection: Connection, organization: str, in_force: Iterable[Freeze]) -> bool:
    """Keep these and no others; True when anything changed: then every document may have."""
    before = _contents(connection, organization)
    after = {freeze.name: _document(freeze) for freeze in in_force}
    if before == after:
        return False
    connection.execute(delete(freezes).where(freezes.c.organization == organization))
    rows = [
        {"organization": organization, "name": name, "content": content}
        for name, content in after.items()
    ]
    if rows:
        connection.execute(insert(freezes), rows)
    return True


@dataclass(frozen=True, slots=True)
class InForce:
    """One Freeze: whom it is for, and when they begin nothing."""

    ownership: Ownership
    windows: tuple[Window, ...]


def in_force(connection: Connection, organization: str) -> tuple[InForce, ...]:
    """All Freezes of an organization, by their names."""
    return tuple(
        InForce(_ownership(content["filters"]), window_words.parse(content["windows"]))
        for _, content in sorted(_contents(connection, organization).items())
    )


def windows_for(those: Iterable[InForce], device: FilterableDevice) -> tuple[Window, ...]:
    """The windows of those that own the device."""
    return tuple(
        window for each in those if owns(each.ownership, {}, device) for window in each.windows
    )


def windows_of(
    connection: Connection, organization: str, device: FilterableDevice
) -> tuple[Window, ...]:
    """The windows of all Freezes that own one device."""
    return windows_for(in_force(connection, organization), device)


def _contents(connection: Connection, organization: str) -> dict[str, dict[str, Any]]:
    rows = connection.execute(
        select(freezes.c.name, freezes.c.content).where(freezes.c.organization == organization)
    )
    return {row.name: row.content for row in rows}


def _document(freeze: Freeze) -> dict[str, Any]:
    """As the store keeps it; the filters of a Freeze name no groups."""
    ownership = freeze.ownership
    return {
        "windows": [window_words.document(window) for window in freeze.windows],
        "filters": {
            "deviceTypes": list(ownership.device_types),
            "labels": {key: list(values) for key, values in ownership.labels},
            "expressions": [
                {"key": each.key, "operator": each.operator.value, "values": list(each.values)}
                for each in ownership.expressions
            ],
            "devices": list(ownership.devices),
            "exclude": list(ownership.exclude),
        },
    }


def _ownership(filters: Mapping[str, Any]) -> Ownership:
    return Ownership(
        device_types=tuple(filters["deviceTypes"]),
        labels=tuple((key, tuple(values)) for key, values in filters["labels"].items()),
        expressions=tuple(
            Expression(each["key"], Operator(each["operator"]), tuple(each["values"]))
            for each in filters["expressions"]
        ),
        devices=tuple(filters["devices"]),
        exclude=tuple(filters["exclude"]),
    )
