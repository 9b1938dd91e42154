"""The shapes of answers about devices: who they are, what they run, their labels, and old ones."""

from typing import Any, Literal

from pydantic import ConfigDict

from towline.reconciler.server.openapi.shapes import Shape, Time, Uuid
from towline.schemas.states import TargetState


class Pin(Shape):
    """A device that was sent back stays there."""

    version: str
    sha256: str


class Component(Shape):
    """What a device runs of a component, and should run."""

    current: str | None
    sha256: str | None
    rollbackIndex: int
    knownBad: str | None
    pin: Pin | None
    desired: str | None
    state: TargetState | None
    reason: str
    message: str
    deployment: str | None
    attempt: int | None
    commit: str | None


class Device(Shape):
    """One device of the inventory."""

    model_config = ConfigDict(extra="allow")
    id: str
    uuid: Uuid
    organization: str
    deviceType: str
    labels: dict[str, str]
    timeZone: str | None
    state: Literal["active", "revoked", "duplicate"]
    fingerprint: str | None
    online: bool
    lastSeen: Time | None
    verifiesSignatures: bool
    facts: dict[str, Any]
    rejected: str
    seq: int
    components: dict[str, Component]


class DeviceList(Shape):
    """One part of the devices that fit; `total` is how many do, or were counted if it has more."""

    devices: list[Device]
    total: int
    has_more_than_total: bool
    next_cursor: str | None


class ComponentStory(Shape):
    """One component of a device, and what blocks it."""

    model_config = ConfigDict(extra="allow")
    component: str
    current: str | None
    desired: str | None
    state: TargetState | None
    blocks: str
    clears: str


class DeviceStory(Shape):
    """A device in words; `text` is the whole story."""

    model_config = ConfigDict(extra="allow")
    device: str
    components: list[ComponentStory]
    text: str


class Labels(Shape):
    """The labels in force, and who gave which."""

    labels: dict[str, str]
    git: dict[str, str]
    people: dict[str, str]
    join: dict[str, str]


class Group(Shape):
    """A DeviceGroup in force."""

    name: str
    file: str
    devices: int
    filters: dict[str, Any]
    deployments: list[str]


class GroupList(Shape):
    """All of them."""

    groups: list[Group]


class OldDevices(Shape):
    """Whether old devices are let in, and how many have a token."""

    allowed: bool
    devices: int


class DeviceToken(Shape):
    """A device's token, shown this once."""

    device_id: str
    token: str


class DeviceTokenEnded(Shape):
    """A device's token is no more."""

    status: Literal["revoked"]
    device_id: str


class FormerKey(Shape):
    """What an approval would put an end to."""

    fingerprint: str | None
    device_type: str
    state: Literal["active", "revoked", "duplicate", "deleted"]


class Enrolment(Shape):
    """A key that waits for an approval."""

    device_id: str
    fingerprint: str
    device_type: str
    labels: dict[str, str]
    source: str
    since: Time
    until: Time
    key_change: FormerKey | None


class EnrolmentList(Shape):
    """All that wait."""

    enrolments: list[Enrolment]


class DeviceAdmitted(Shape):
    """A key is admitted."""

    status: Literal["accepted"]
    device_id: str
    key_changed: bool


class EnrolmentDenied(Shape):
    """A key waits no longer."""

    status: Literal["denied"]
    device_id: str


class DeviceRevoked(Shape):
    """A device is shut out."""

    status: Literal["revoked"]
    device_id: str


class DeviceLeft(Shape):
    """A device is no longer in the inventory."""

    status: Literal["deleted", "purged"]
    uuid: Uuid


class DeviceReplaced(Shape):
    """Another device took its place."""

    status: Literal["replaced"]
    device_id: str
    by: str
    labels: dict[str, str]
    named_in: list[str]


class Update(Shape):
    """What an old device is offered."""

    update_available: bool
    deployment_id: Uuid = ""
    target_version: str = ""
    update_package_url: str = ""
    checksum: str = ""
    release_notes: str = ""


class StatusWord(Shape):
    """One step of an old device."""

    model_config = ConfigDict(extra="allow")
    status: Literal["downloading", "installing", "verifying", "completed", "failed", "rolled_back"]
    error_message: str | None = None
