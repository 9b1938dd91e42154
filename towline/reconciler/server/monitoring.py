"""What monitoring asks: whether the process can serve, and its figures.

An application of its own, and a small one: it is asked every few seconds however seldom people
come, and of a process that only reconciles it is all that is served.
"""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from towline.reconciler.server import health, metrics
from towline.reconciler.server.buckets import Buckets
from towline.reconciler.server.callers import receive_callers
from towline.reconciler.server.desk import Desks
from towline.reconciler.server.metrics import Meters
from towline.reconciler.server.problem_answers import install_problems
from towline.reconciler.server.request_ids import RequestIds

PATHS = (health.PATH, metrics.PATH)


def application(desks: Desks, meters: Meters, failures: Buckets) -> Starlette:
    """The application for monitoring; `failures` counts wrong tokens."""
    app = Starlette(
        routes=[Route(health.PATH, health.healthz), Route(metrics.PATH, metrics.metrics)],
        middleware=[Middleware(RequestIds)],
    )
    receive_callers(app, desks, failures)
    app.state.meters = meters
    app.state.health = health.Health(desks.store, meters.clock)
    install_problems(app)
    return app
