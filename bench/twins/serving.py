"""How twins are served: by the server that Towline has, with its settings."""

import socket
import threading
from collections.abc import Callable
from typing import Any

import uvicorn

from bench.processes import commands


def serve(application: Callable[..., Any]) -> None:
    """Serve until no command will come."""
    config = uvicorn.Config(
        application,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    commands(listener.getsockname()[1], {})
    server.should_exit = True
    thread.join()
