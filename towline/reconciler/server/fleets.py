"""The fleets that the server serves: one for each organization, with its own git, key and loop."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from towline.manifests.model import DeviceEntry
from towline.manifests.repository import Repository
from towline.reconciler.head import Head
from towline.reconciler.tallies import LoopTally
from towline.schemas.keys import PrivateKey


@dataclass(frozen=True, slots=True)
class FleetView:
    """What the server needs of an organization's reconciler, and the key that signs for it."""

    organization: str
    online_key: PrivateKey
    roots: Callable[[], Sequence[bytes]]
    """The signed roots of the commit in force, version 1 first."""
    devices: Callable[[], Mapping[str, DeviceEntry]]
    """The Device manifests of the commit in force."""
    wake: Callable[[], None]
    head: Callable[[], Head | None] = lambda: None
    """What is in force; None until the first commit was applied."""
    repository: Repository | None = None
    tally: LoopTally = field(default_factory=LoopTally)
    leads: Callable[[], bool] = lambda: True
    """Whether this process decides for the organization."""


class Fleets:
    """All of them, by organization; none knows another."""

    def __init__(self, fleets: Iterable[FleetView]) -> None:
        self._fleets = {fleet.organization: fleet for fleet in fleets}

    def find(self, organization: str) -> FleetView | None:
        """The organization's; None when the server follows no repository of it."""
        return self._fleets.get(organization)

    def only(self) -> FleetView | None:
        """The one fleet of a server of one organization; None where there are several."""
        return next(iter(self._fleets.values())) if len(self._fleets) == 1 else None

    def roots(self, organization: str) -> Sequence[bytes]:
        """The organization's signed roots; none until its first commit was applied."""
        fleet = self.find(organization)
        return fleet.roots() if fleet else ()

    def key(self, organization: str) -> PrivateKey:
        """What signs the organization's documents."""
        return self._fleets[organization].online_key

    def wake(self) -> None:
        """Something came in that any loop may care about."""
        for fleet in self._fleets.values():
            fleet.wake()
