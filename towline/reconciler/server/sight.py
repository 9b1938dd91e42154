"""From where the server's answers are seen: its clock, what is in force, its poll interval."""

from towline.reconciler.server.desk import Desk, wall_clock
from towline.reconciler.showing import Sight


def sight(desk: Desk) -> Sight:
    """Of this moment."""
    return Sight(wall_clock(), desk.head(), desk.poll_interval_s)
