"""What happens in a process when something was told: bells ring, sessions end, loops wake.

It is the same for what the process wrote itself, told after the commit, and for what others wrote,
which `feed` reads. It is committed, so whatever cannot be told now is owed until it can be.
"""

import threading

import structlog

from towline.reconciler.server.doorbell import Doorbell
from towline.reconciler.server.fleets import Fleets
from towline.reconciler.server.sessions import Sessions
from towline.reconciler.store import dirt
from towline.reconciler.store.engine import AWAY, Store
from towline.reconciler.store.outbox import Told
from towline.reconciler.store.trouble import while_serving

AGAIN_S = 0.5
"""What is owed is tried again so often."""

log = structlog.get_logger()


class Hearing:
    """Of one process; may be told from any thread."""

    def __init__(
        self,
        store: Store,
        doorbell: Doorbell,
        sessions: Sessions,
        fleets: Fleets,
        *,
        is_open: bool,
    ) -> None:
        """`is_open`: devices are served here."""
        self._is_open = is_open
        self._store = store
        self._doorbell = doorbell
        self._sessions = sessions
        self._fleets = fleets
        self._owed: set[str] = set()
        """Organizations whose devices' bells are to ring."""
        self._owing = threading.Lock()

    def of_own(self, told: Told) -> None:
        """What this process wrote."""
        if self._is_open:
            self._sessions.replace(told.sessions)
            self._ring(told)
        if told.is_work:
            self._fleets.wake()
        for organization in told.repositories:
            if (fleet := self._fleets.find(organization)) is not None:
                fleet.wake()

    def of_others(self, told: Told) -> None:
        """What another process wrote: what it did to git has to come here first."""
        for organization in told.repositories:
            fleet = self._fleets.find(organization)
            if fleet is not None and fleet.repository is not None:
                fleet.repository.fetch_soon()
        self.of_own(told)

    def of_anything(self) -> None:
        """It is unknown what others wrote: everything may have changed."""
        if self._is_open:
            self._sessions.load(self._store)
        organizations = set(self._fleets.organizations)
        self.of_others(Told(everyone=organizations, repositories=organizations, is_work=True))

    def _ring(self, told: Told) -> None:
        if told.devices:
            self._doorbell.ring(told.devices)
        if told.everyone:
            with self._owing:
                self._owed |= told.everyone
            self._ring_owed()

    def _ring_owed(self) -> None:
        """Ring for all of an organization, once the store says who they are."""
        with self._owing:
            owed = set(self._owed)
        try:
            devices = self._devices_of(owed) if owed else set()
        except AWAY as error:
            log.error("bells.owed", **while_serving(self._store.engine, error))
            again = threading.Timer(AGAIN_S, self._ring_owed)
            again.daemon = True
            again.start()
            return
        with self._owing:
            self._owed -= owed
        if devices:
            self._doorbell.ring(devices)

    def _devices_of(self, organizations: set[str]) -> set[int]:
        with self._store.read() as connection:
            return {
                device
                for organization in sorted(organizations)
                for device in dirt.every_device(connection, organization)
            }
