"""From the body of the contract's POST to the text of a manifest, and from its faults back. Pure.

Where the manifest goes and what it displaces is decided in `creating_place`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from towline.manifests.errors import Location
from towline.manifests.model import API_LABEL
from towline.schemas.identifiers import ID_GRAMMAR

_HEADING = (
    "# Made by a call, the dashboard or `towline deployment new`; the next one takes its place.\n"
)
_WIDTH = 96

Text = Annotated[str, Field(max_length=255)]
Id = Annotated[str, Field(pattern=rf"^{ID_GRAMMAR}$")]
Listed = Annotated[list[Id], Field(max_length=10_000)]


class DeviceFilters(BaseModel):
    """The contract's `device_filters`, with labels and groups beside them."""

    model_config = ConfigDict(extra="forbid", strict=True)
    device_type: Text | Annotated[list[Text], Field(max_length=100)] | None = None
    current_version: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    version_operator: Literal["=", "==", "!=", "<", "<=", ">", ">="] | None = None
    status: Literal["online", "offline"] | None = None
    device_ids: Listed | None = None
    labels: dict[Text, Text | list[Text]] | None = None
    group: Id | Listed | None = None

    def document(self) -> dict[str, Any]:
        """As `spec.filters`."""
        version = None
        if self.current_version is not None:
            version = f"{self.version_operator or '='}{self.current_version}"
        filters = {
            "device_type": self.device_type,
            "group": self.group,
            "labels": self.labels,
            "devices": self.device_ids,
            "current_version": version,
            "status": self.status,
        }
        return {key: value for key, value in filters.items() if value}


class DeploymentBody(BaseModel):
    """The contract's body; `component`, `start` and `release` are extensions."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "deployment_name": "Firmware Update v2.1.0",
                    "target_version": "v2.1.0",
                    "rollout_strategy": "canary",
                    "rollout_percentage": 20,
                    "device_filters": {
                        "device_type": "raspberry_pi",
                        "current_version": "v2.0.0",
                        "version_operator": "!=",
                        "status": "online",
                    },
                    "update_package_url": "https://cdn.example.com/updates/v2.1.0.tar.gz",
                    "checksum": f"sha256:{'0c' * 32}",
                    "release_notes": "Bug fixes",
                }
            ]
        },
    )
    deployment_name: Annotated[str, Field(min_length=1, max_length=255)]
    target_version: Annotated[str, Field(min_length=1, max_length=100)]
    rollout_strategy: Literal["manual", "immediate", "canary", "rolling"]
    rollout_percentage: Annotated[int, Field(ge=1, le=100)] | None = None
    """canary: the first share; rolling: of each batch; the others have no use for it."""
    device_filters: DeviceFilters = Field(default_factory=DeviceFilters)
    update_package_url: Annotated[str, Field(min_length=1, max_length=2000)]
    checksum: Annotated[str, Field(min_length=1, max_length=100)]
    release_notes: Annotated[str, Field(max_length=10_000)] | None = None
    component: Id = "system"
    start: Literal["manual", "automatic"] = "manual"
    release: dict[str, Any] | None = None
    """The signed statement of the package: a DSSE envelope as JSON."""


def manifest_text(body: DeploymentBody, name: str, replaces: Sequence[str] = ()) -> str:
    """The manifest that says what the body says; whether it is right is left to the loader."""
    key, value = API_LABEL
    metadata: dict[str, Any] = {
        "name": name,
        "title": body.deployment_name,
        "labels": {key: value},
        "replaces": list(replaces),
    }
    spec = {
        "component": None if body.component == "system" else body.component,
        "targetVersion": body.target_version,
        "releaseNotes": body.release_notes,
        "package": {"url": body.update_package_url, "checksum": body.checksum},
        "filters": body.device_filters.document(),
        "strategy": strategy_value(body.rollout_strategy, body.rollout_percentage),
        "start": body.start,
    }
    document = {
        "apiVersion": "towline/v1",
        "kind": "Deployment",
        "metadata": _used(metadata),
        "spec": _used(spec),
    }
    return _HEADING + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=_WIDTH)


def strategy_value(kind: str, share: int | None) -> str | dict[str, Any]:
    """`spec.strategy` of the contract's two fields."""
    if share is None or kind in ("manual", "immediate"):
        return kind
    if kind == "canary":
        return {"type": kind, "percentage": share}
    return {"type": kind, "batchSize": f"{share}%"}


def _used(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, [], {}, "")}


_FIELDS: tuple[tuple[Location, str], ...] = (
    (("metadata",), "deployment_name"),
    (("spec", "targetVersion"), "target_version"),
    (("spec", "strategy", "percentage"), "rollout_percentage"),
    (("spec", "strategy", "batchSize"), "rollout_percentage"),
    (("spec", "strategy"), "rollout_strategy"),
    (("spec", "soak"), "rollout_strategy"),
    (("spec", "filters", "devices"), "device_filters.device_ids"),
    (("spec", "filters", "device_type"), "device_filters.device_type"),
    (("spec", "filters", "labels"), "device_filters.labels"),
    (("spec", "filters", "group"), "device_filters.group"),
    (("spec", "filters", "current_version"), "device_filters.current_version"),
    (("spec", "filters", "status"), "device_filters.status"),
    (("spec", "filters"), "device_filters"),
    (("spec", "package", "checksum"), "checksum"),
    (("spec", "package"), "update_package_url"),
    (("spec", "releaseNotes"), "release_notes"),
    (("spec", "component"), "component"),
    (("spec", "start"), "start"),
)
"""Where something stands in the manifest, and the field of the body that it comes from."""


def field_of(way: Iterable[str | int]) -> str:
    """The body's field behind a place in the manifest; empty for none."""
    words = tuple(way)
    return next((field for begin, field in _FIELDS if words[: len(begin)] == begin), "")
