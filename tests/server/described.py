"""The application for people as one that nobody asks: its routes, and how it describes itself."""

from fastapi import FastAPI

from towline.reconciler.server.callers import failures
from towline.reconciler.server.desk import Desks
from towline.reconciler.server.live import Live
from towline.reconciler.server.package_look import PackageLook
from towline.reconciler.server.people import application


def application_at(desks: Desks) -> FastAPI:
    """With these desks."""
    return application(desks, Live(desks.store, int), failures(), None, PackageLook(None))
