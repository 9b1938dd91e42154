"""Servers under measure, each in a process of its own.

One says its port in its first line; each line that it is given is a command, which it answers with
a line, and it ends when there will be none.
"""

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE_S = 20


@dataclass(frozen=True, slots=True)
class Server:
    """One that runs."""

    pid: int
    port: int
    ask: Callable[[str], Any]
    """Give a command; its answer."""


@contextmanager
def started(commands: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Server]]:
    """Servers that are modules of this bench, begun at once; they end with the block."""
    processes = {
        name: subprocess.Popen(
            (sys.executable, "-m", *words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, words in commands.items()
    }
    try:
        yield {name: _server(process) for name, process in processes.items()}
    finally:
        for process in processes.values():
            assert process.stdin is not None
            process.stdin.close()
        for process in processes.values():
            process.wait(PATIENCE_S)


def _server(process: "subprocess.Popen[str]") -> Server:
    told, answers = process.stdin, process.stdout
    assert told is not None and answers is not None

    def ask(command: str) -> Any:
        told.write(f"{command}\n")
        told.flush()
        return json.loads(answers.readline())

    return Server(process.pid, int(answers.readline()), ask)


def commands(port: int, known: Mapping[str, Callable[[], object]]) -> None:
    """The server's side: say the port, then do what is asked until nothing will be."""
    _say(port)
    for line in sys.stdin:
        _say(known[line.strip()]())


def _say(answer: object) -> None:
    sys.stdout.write(f"{json.dumps(answer)}\n")
    sys.stdout.flush()


def open_many_files() -> None:
    """Let this process have as many connections as the system allows it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def has_nginx() -> bool:
    """Whether there is one on this machine."""
    return shutil.which("nginx") is not None


@contextmanager
def nginx(folder: Path, settings: str) -> Iterator[Server]:
    """nginx with a `server` of these settings."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    file = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    for word, meant in {"PORT": str(port), "FOLDER": str(folder), "USER": user}.items():
        settings = settings.replace(word, meant)
    file.write_text(settings)
    command = ("nginx", "-p", str(folder), "-c", str(file))
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        _await(port)
        yield Server(process.pid, port, lambda _: None)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _await(port: int) -> None:
    ends_at = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.05)
        else:
            return
