"""The server of `tests/server`, for attacks that come over HTTP."""

from tests.server.conftest import add_run, enrolled, server, store

__all__ = ["add_run", "enrolled", "server", "store"]
