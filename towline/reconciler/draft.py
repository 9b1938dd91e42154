"""A Deployment as a person writes it step by step: texts as typed, and what they come to. Pure.

The dashboard's wizard and `towline deployment new` both fill one in, so that the same answers make
the same manifest, byte for byte. A draft of a manifest that is there knows what of it changes.
"""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from towline.manifests.editing import Way
from towline.manifests.model import Deployment, StartMode, StrategyKind
from towline.manifests.shape_rollout import RollingShape
from towline.reconciler.creating import DeploymentBody, strategy_value
from towline.reconciler.creating_place import BadFields
from towline.reconciler.refusals import NotAllowed

_RANGE = re.compile(r"\s*(?P<operator>[<>!=]=?|==)?\s*(?P<version>.*)", re.DOTALL)
_STAND_INS = {
    "target_version": "0",
    "update_package_url": "package.tar.gz",
    "checksum": f"sha256:{'0' * 64}",
    "deployment_name": "draft",
}
"""For what is not known yet."""

Typed = Annotated[str, Field(max_length=20_000)]


class Step(StrEnum):
    """The steps of the wizard, in order."""

    BASICS = "basics"
    TARGETS = "targets"
    PACKAGE = "package"
    REVIEW = "review"


FIELDS: Mapping[Step, tuple[str, ...]] = {
    Step.BASICS: (
        *("deployment_name", "target_version", "component"),
        *("rollout_strategy", "rollout_percentage", "start", "release_notes"),
    ),
    Step.TARGETS: ("device_type", "labels", "group", "device_ids", "current_version", "status"),
    Step.PACKAGE: ("update_package_url", "checksum"),
    Step.REVIEW: (),
}
"""What each asks."""


class Draft(BaseModel):
    """All that was typed so far."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    edits: Typed = ""
    """The Deployment whose manifest is edited; empty: a new one."""
    deployment_name: Typed = ""
    target_version: Typed = ""
    component: Typed = "system"
    rollout_strategy: Typed = "canary"
    rollout_percentage: Typed = ""
    start: Typed = "manual"
    release_notes: Typed = ""
    min_devices: Typed = ""
    """Of strategy rolling in the manifest that is edited: no form asks it, and it stays."""
    device_type: Typed = ""
    labels: Typed = ""
    group: Typed = ""
    device_ids: Typed = ""
    current_version: Typed = ""
    status: Typed = ""
    update_package_url: Typed = ""
    checksum: Typed = ""

    def typed(self, step: Step, fields: Mapping[str, str]) -> "Draft":
        """With what a step's form sent."""
        sent = {name: fields[name].strip() for name in FIELDS[step] if name in fields}
        return Draft(**(self.model_dump() | sent))

    def body(self, *, is_whole: bool = True) -> DeploymentBody:
        """What the API's POST would be sent; raises BadFields.

        Where it is not whole, stand-ins take the place of what was not typed yet.
        """
        typed = self.model_dump()
        if not is_whole:
            typed |= {name: typed[name] or each for name, each in _STAND_INS.items()}
        filters = {
            "device_type": _one_or_list(self.device_type),
            "labels": labels_of(self.labels),
            "group": _one_or_list(self.group),
            "device_ids": listed(self.device_ids),
            "status": self.status,
            **_version(self.current_version),
        }
        values = {
            **{name: typed[name] for name in _STAND_INS},
            "component": self.component,
            "rollout_strategy": self.rollout_strategy,
            "rollout_percentage": _percentage(self.rollout_percentage),
            "start": self.start,
            "release_notes": self.release_notes.replace("\r\n", "\n"),
            "device_filters": {key: value for key, value in filters.items() if value},
        }
        try:
            return DeploymentBody(**{key: value for key, value in values.items() if value != ""})
        except ValidationError as wrong:
            faults = [(_field(each["loc"]), _words(each)) for each in wrong.errors()]
            raise BadFields(faults) from None

    def changes(self, before: "Draft") -> dict[Way, Any]:
        """What is to be set in the manifest that `before` was made of; raises BadFields."""
        body = self._without_kept(before).body()
        filters = body.device_filters.document()
        strategy = self._strategy(body)
        values: dict[str, tuple[Way, Any]] = {
            "deployment_name": (("metadata", "title"), body.deployment_name),
            "target_version": (("spec", "targetVersion"), body.target_version),
            "rollout_strategy": (("spec", "strategy"), strategy),
            "rollout_percentage": (("spec", "strategy"), strategy),
            "start": (("spec", "start"), body.start),
            "release_notes": (("spec", "releaseNotes"), body.release_notes or None),
            "update_package_url": (("spec", "package", "url"), body.update_package_url),
            "checksum": (("spec", "package", "checksum"), body.checksum),
            **{
                field: (("spec", "filters", key), filters.get(key))
                for field, key in _FILTER_KEYS.items()
            },
        }
        old, new = before.model_dump(), self.model_dump()
        return dict(values[name] for name in values if old[name] != new[name])

    def _strategy(self, body: DeploymentBody) -> Any:
        strategy = strategy_value(body.rollout_strategy, body.rollout_percentage)
        if body.rollout_strategy != "rolling" or not self.min_devices:
            return strategy
        form = strategy if isinstance(strategy, dict) else {"type": strategy}
        return form | {"minDevices": int(self.min_devices)}

    def _without_kept(self, before: "Draft") -> "Draft":
        """With words that a body knows in place of those that no form writes, and that stay."""
        kept = {}
        if self.rollout_strategy == before.rollout_strategy == StrategyKind.BATCHES:
            kept["rollout_strategy"] = StrategyKind.IMMEDIATE.value
        if self.start == before.start == StartMode.AT:
            kept["start"] = StartMode.AUTOMATIC.value
        return self.model_copy(update=kept)


_FILTER_KEYS = {
    "device_type": "device_type",
    "labels": "labels",
    "group": "group",
    "device_ids": "devices",
    "current_version": "current_version",
    "status": "status",
}


def draft_of(manifest: Deployment) -> Draft:
    """A manifest that is there as a draft; raises NotAllowed where a form cannot show it."""
    packages = manifest.packages
    if manifest.arms or len(packages) != 1 or len(packages[0].urls) != 1:
        raise NotAllowed(
            f"{manifest.name} has an experiment, several packages or several addresses: edit"
            f" {manifest.file} by hand"
        )
    owner, asked = manifest.ownership, manifest.eligibility
    return Draft(
        edits=manifest.name,
        deployment_name=manifest.title,
        target_version=manifest.target_version,
        component=manifest.component,
        rollout_strategy=manifest.strategy.value,
        rollout_percentage=str(manifest.rollout_percentage or ""),
        start=manifest.start.mode.value,
        release_notes=manifest.release_notes,
        min_devices=_min_devices(manifest),
        device_type=", ".join(owner.device_types),
        labels=", ".join(f"{key}={value}" for key, values in owner.labels for value in values),
        group=", ".join(owner.groups),
        device_ids=", ".join(owner.devices),
        current_version=asked.current_version or "",
        status=asked.status or "",
        update_package_url=packages[0].urls[0],
        checksum=f"sha256:{packages[0].sha256}",
    )


def _min_devices(manifest: Deployment) -> str:
    """Where it is another one than a rolling strategy has by itself."""
    least = manifest.batches[0].min_devices
    is_own = (
        manifest.strategy is StrategyKind.ROLLING
        and least != RollingShape(type="rolling").min_devices
    )
    return str(least) if is_own else ""


def listed(text: str) -> list[str]:
    """`pi-0001, pi-0002`, with commas, blanks or lines between."""
    return [each for each in re.split(r"[\s,]+", text) if each]


def labels_of(text: str) -> dict[str, str | list[str]]:
    """`region=eu, stage=lab, stage=pilot`: a key given twice has one of its values."""
    found: dict[str, list[str]] = {}
    for part in filter(None, (each.strip() for each in re.split(r"[,\n]", text))):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            words = f"write KEY=VALUE, with a comma between: {part[:60]}"
            raise BadFields([("device_filters.labels", words)])
        found.setdefault(key.strip(), []).append(value.strip())
    return {key: values[0] if len(values) == 1 else values for key, values in found.items()}


def step_of(field: str) -> Step | None:
    """Where a field of the body is asked; None for what no step asks."""
    name = field.removeprefix("device_filters.")
    return next((step for step, names in FIELDS.items() if name in names), None)


def _one_or_list(text: str) -> str | list[str]:
    found = listed(text)
    return found[0] if len(found) == 1 else found


def _version(text: str) -> dict[str, str]:
    """`!=2.0.0` as the contract's two fields; what follows a comma stays with the version."""
    found = _RANGE.fullmatch(text)
    if found is None or not text.strip():
        return {}
    return {"current_version": found["version"], "version_operator": found["operator"] or "="}


def _percentage(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 3):
        raise BadFields([("rollout_percentage", "write a whole number from 1 to 100")])
    return int(text)


def _field(way: Iterable[str | int]) -> str:
    words = ["current_version" if each == "version_operator" else str(each) for each in way]
    return ".".join(words[:2]) if words[:1] == ["device_filters"] else words[0]


def _words(error: Mapping[str, Any]) -> str:
    return "this is needed" if error["type"] == "missing" else str(error["msg"])
