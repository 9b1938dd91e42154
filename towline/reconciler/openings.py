"""When the windows of a run's devices open next, with the Freezes that apply there."""

from sqlalchemy import Connection

from towline.manifests.model import Deployment
from towline.reconciler.head import Head
from towline.reconciler.store import plan_reading
from towline.schemas.windows import install_need_s, opening_if_known


def openings_of(
    connection: Connection, head: Head, manifest: Deployment, run_seq: int, at: int
) -> list[int] | None:
    """From `at` on the first opening in each time zone of the run's devices, in order.

    Empty: none ever opens. None: neither a window nor a Freeze is in the way of anybody.
    """
    freezes = list(head.freezes.values())
    if not manifest.windows and not freezes:
        return None
    health = [check.document() for check in manifest.health]
    need_s = install_need_s(manifest.install.timeout_s, health)
    found = [
        opening_if_known((*manifest.windows, *frozen), at, zone, need_s)
        for zone, frozen in plan_reading.zones(connection, run_seq, freezes)
    ]
    return sorted(opening for opening in found if opening is not None)
