"""What the page of the fleet is asked for: the fields of its form, kept in the address."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from towline.reconciler.server.desk import Declined
from towline.reconciler.store.device_lists import DeviceOrder, FleetFilter, Presence
from towline.schemas.identifiers import is_id
from towline.schemas.states import TargetState


class DeviceSearch(BaseModel):
    """Empty fields ask for nothing; what no field has is refused."""

    model_config = ConfigDict(extra="forbid")
    q: str = Field(default="", max_length=300)
    """A part of the id."""
    label: str = Field(default="", max_length=300)
    """`site=berlin,ring=a`."""
    presence: Presence | Literal[""] = ""
    type: str = Field(default="", max_length=63)
    component: str = Field(default="", max_length=63)
    version: str = Field(default="", max_length=100)
    status: TargetState | Literal[""] = ""
    """In the newest run of a Deployment."""
    trouble: Literal["failing", "drift", ""] = ""
    sort: DeviceOrder = DeviceOrder.BY_ID
    after: str = Field(default="", max_length=300)
    """The cursor that the part before ended with."""

    def wanted(self) -> FleetFilter:
        """Which devices to read; raises Declined for labels that are none."""
        return FleetFilter(
            contains=self.q.strip(),
            labels=_labels(self.label),
            presence=self.presence or None,
            after=self.after,
            device_type=self.type.strip() or None,
            version=self.version.strip() or None,
            component=self.component.strip() or None,
            status=self.status or None,
            is_failing=self.trouble == "failing",
            has_drifted=self.trouble == "drift",
        )

    @property
    def query(self) -> dict[str, str]:
        """What was asked, without where the page begins."""
        return {
            name: str(value)
            for name, value in self
            if value and name != "after" and value != DeviceOrder.BY_ID
        }

    @property
    def is_filtered(self) -> bool:
        """Fewer than all devices are asked for."""
        return not self.query.keys() <= {"sort"}


def _labels(text: str) -> dict[str, str]:
    """`site=berlin,ring=a`; raises Declined for anything else."""
    found = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        key, equals, value = part.partition("=")
        if not equals or not is_id(key.strip()):
            raise Declined(422, "bad-field", "Labels are written KEY=VALUE, with a comma between.")
        found[key.strip()] = value.strip()
    return found
