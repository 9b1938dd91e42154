"""The fleets that the server serves: one for each organization, with its own git, key and loop."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from towline.manifests.model import DeviceEntry
from towline.manifests.repository import Repository
from towline.reconciler.head import Head
from towline.reconciler.tallies import LoopTally
from towline.reconciler.trust_warnings import warnings_of
from towline.schemas import envelope
from towline.schemas.keys import PrivateKey
from towline.schemas.problems import Refused
from towline.schemas.root import Root, parse_payload


@dataclass(frozen=True, slots=True)
class FleetView:
    """What the server needs of an organization's reconciler, and the key that signs for it."""

    organization: str
    online_key: Callable[[], PrivateKey | None]
    """What signs for it now; None while the newest root names another key."""
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

    def root(self) -> Root | None:
        """The newest root; None before the first commit."""
        roots = self.roots()
        return _parsed(roots[-1]) if roots else None

    def warnings(self, now: int) -> list[str]:
        """What must be said of roots and keys wherever people look."""
        root = self.root()
        if root is None:
            return []
        unsigned = (
            f"root {root.version} names another online key than this server has: devices get no"
            " documents; put the new key into the file of the setting online_key"
        )
        return [*([] if self.online_key() else [unsigned]), *warnings_of(root, now)]


@lru_cache(maxsize=64)
def _parsed(data: bytes) -> Root | None:
    """One of a chain that was followed before."""
    try:
        return parse_payload(envelope.parse(data).payload)
    except Refused:
        return None


class Fleets:
    """All of them, by organization; none knows another."""

    def __init__(self, fleets: Iterable[FleetView]) -> None:
        self._fleets = {fleet.organization: fleet for fleet in fleets}

    def __iter__(self) -> Iterator[FleetView]:
        """Each."""
        return iter(self._fleets.values())

    @property
    def organizations(self) -> Iterable[str]:
        """Whose they are."""
        return self._fleets.keys()

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

    def roots_to_sign_under(self, organization: str) -> Sequence[bytes]:
        """The same; none either while the newest of them names no key that is here."""
        fleet = self.find(organization)
        return fleet.roots() if fleet and fleet.online_key() else ()

    def key_if_any(self, organization: str) -> PrivateKey | None:
        """What signs for the organization; None while there is no such key."""
        fleet = self.find(organization)
        return fleet.online_key() if fleet else None

    def key(self, organization: str) -> PrivateKey:
        """What signs the organization's documents; only where there is a root to sign under."""
        key = self._fleets[organization].online_key()
        assert key is not None
        return key

    def wake(self) -> None:
        """Something came in that any loop may care about."""
        for fleet in self._fleets.values():
            fleet.wake()
