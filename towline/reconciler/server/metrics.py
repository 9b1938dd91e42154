"""`/metrics`, as Prometheus reads it, for whoever may read an organization's figures."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from towline.reconciler.server.callers import Needs, desk_of
from towline.reconciler.server.clock_guard import ClockGuard
from towline.reconciler.server.doorbell import Doorbell
from towline.reconciler.server.inlet import Inlet
from towline.reconciler.store.people import Role
from towline.reconciler.tallies import DeviceTally

PATH = "/metrics"
_MAY_READ = Needs(Role.VIEWER)


@dataclass(frozen=True, slots=True)
class Meters:
    """Where the figures are read."""

    devices: DeviceTally
    inlet: Inlet
    doorbell: Doorbell
    clock: ClockGuard


def metrics(request: Request) -> Response:
    """The figures of the organization of whoever asks."""
    _MAY_READ(request)
    from towline.reconciler.server import scrape  # noqa: PLC0415 2 MB where nobody scrapes

    meters: Meters = request.app.state.meters
    text, content_type = scrape.taken(meters, desk_of(request), request.headers.get("accept", ""))
    return Response(text, media_type=content_type)
