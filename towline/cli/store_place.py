"""Which store a command means that looks into one itself: what is named, else the server's here."""

from pathlib import Path

from towline.cli.settings import Settings
from towline.reconciler.store.address import STORE_FILE, place_of


def place_meant(named: str | None, settings: Settings) -> Path | str:
    """The path of a SQLite file, or the URL of a database, with its password; raises Problem."""
    if named is None and settings.store is not None:
        return settings.store
    return place_of(named or str(settings.data / STORE_FILE))
