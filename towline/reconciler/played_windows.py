"""When the devices of a simulation may begin to install: a run's windows and the Freezes."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row

from towline.manifests.filters import FilterableDevice, owns
from towline.manifests.model_policy import Freeze
from towline.reconciler.offer import Offer
from towline.schemas.windows import Window, install_need_s, opening_if_known


class Openings:
    """Asked once per kind of device and time, since fleets have few kinds."""

    def __init__(
        self, freezes: Mapping[str, Freeze], labels: Mapping[int, Mapping[str, str]]
    ) -> None:
        self._freezes = [freeze for _, freeze in sorted(freezes.items())]
        self._by_name = any(
            freeze.ownership.devices or freeze.ownership.exclude for freeze in self._freezes
        )
        self._labels = labels
        self._frozen: dict[tuple[int, str, str], tuple[Window, ...]] = {}
        self._found: dict[tuple[tuple[Window, ...], str | None, int, int], int | None] = {}

    def next(self, offer: Offer, target: Row[Any], now: int) -> int | None:
        """The first time from `now` on when the target's device may begin; None: never."""
        windows = (*offer.windows, *self._freezes_of(target))
        if not windows:
            return now
        need_s = install_need_s(offer.install_timeout_s, offer.health)
        key = (windows, target.time_zone, now, need_s)
        if key not in self._found:
            self._found[key] = opening_if_known(windows, now, target.time_zone, need_s)
        return self._found[key]

    def _freezes_of(self, target: Row[Any]) -> tuple[Window, ...]:
        if not self._freezes:
            return ()
        key = (target.label_set_id, target.device_type, target.slug if self._by_name else "")
        if key not in self._frozen:
            device = FilterableDevice(
                target.slug, target.device_type, self._labels[target.label_set_id]
            )
            self._frozen[key] = tuple(
                window
                for freeze in self._freezes
                if owns(freeze.ownership, {}, device)
                for window in freeze.windows
            )
        return self._frozen[key]
