"""From the shapes of windows and of a Freeze to their values."""

from towline.manifests.filters import ownership_of
from towline.manifests.model_policy import Freeze
from towline.manifests.shape import FreezeShape
from towline.manifests.shape_windows import WindowShape
from towline.schemas.windows import Allow, Deny, Window


def window_of(shape: WindowShape, reason: str = "") -> Window:
    """One window; `reason` holds where it says none itself."""
    return Window(_rule(shape), shape.time_zone, shape.reason or reason)


def _rule(shape: WindowShape) -> Allow | Deny:
    """The one that stands there: the shape lets through no window with both or neither."""
    if shape.allow:
        return Allow(shape.allow.days, shape.allow.start, shape.allow.length)
    assert shape.deny is not None
    return Deny(shape.deny.from_, shape.deny.to)


def freeze_of(shape: FreezeShape, file: str) -> Freeze:
    """The Freeze that a manifest describes; each of its windows carries its reason."""
    spec = shape.spec
    return Freeze(
        name=shape.metadata.name,
        file=file,
        windows=tuple(window_of(entry, spec.reason) for entry in spec.windows),
        ownership=ownership_of(spec.filters),
        reason=spec.reason,
    )
