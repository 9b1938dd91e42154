"""What a device's calls leave behind in a process, from one to the next.

All of it is in one place: of a large fleet, hardly ever a device calls that called just now, and
what is known of it must be fetched from far. A table for each thing would have to be looked up each
for itself.
"""

from dataclasses import dataclass

from towline.reconciler.server.content import Kept


@dataclass(slots=True, eq=False)
class Traces:
    """One device's. Who keeps what there knows what it means, and changes it as is said here."""

    device_seq: int
    due_s: float = 0.0
    """When its calls would all be due, had they come at their rate (`device_rates`)."""
    kept: Kept | None = None
    """Its content as it was last read (`served_documents`)."""
    seen_at: int = 0
    """When it last spoke; seconds since the epoch (`inlet`)."""
    is_seen: bool = False
    """That is still to be written (`inlet`)."""
