"""The command `towline-agent`: parse, call, print."""

import argparse
import json
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import towline
from towline.agent import identity, locks, loop, renewal, scripts, status
from towline.agent.device import LOG, Device, lock
from towline.agent.fetch import Stopped
from towline.agent.identity import NotAuthorised
from towline.agent.layout import DEFAULT_ROOT, Layout
from towline.agent.server import Denied
from towline.agent.stop import Stop
from towline.agent.wire import Unreachable
from towline.schemas.enrolment import JoinString
from towline.schemas.problems import Problem

OK, ERROR, NOT_AUTHORISED, USAGE = 0, 1, 4, 64


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Exit with 0, 1 (error), 4 (not authorised) or 64 (usage)."""
    sys.exit(_main(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="towline-agent", description="The agent of a Towline device.")
    parser.add_argument("--version", action="version", version=towline.__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    rooted = _Parser(add_help=False)
    rooted.add_argument(
        "--root", type=Path, default=DEFAULT_ROOT, help=f"the agent's folder ({DEFAULT_ROOT})"
    )
    enrol = commands.add_parser("enroll", parents=[rooted], help="become known to a server")
    enrol.add_argument("join", metavar="JOIN", help="the line that `towline join create` prints")
    enrol.add_argument("--id", help="the device's id; by default made from its key")
    enrol.add_argument("--device-type", help=f"by default {identity.DEFAULT_DEVICE_TYPE}")
    commands.add_parser("run", parents=[rooted], help="follow the server until stopped")
    commands.add_parser("once", parents=[rooted], help="do what is to be done now, then exit")
    shown = commands.add_parser("status", parents=[rooted], help="what runs and what is wanted")
    shown.add_argument("--why", action="store_true", help="also what it waits for")
    shown.add_argument("-o", "--output", choices=("text", "json"), default="text")
    commands.add_parser("renew", parents=[rooted], help="make a new key, taken at the next poll")
    locked = commands.add_parser("lock", parents=[rooted], help="begin no install until unlock")
    locked.add_argument("name", metavar="NAME")
    locked.add_argument("--reason", default="", help="told in status and to the server")
    unlocked = commands.add_parser("unlock", parents=[rooted], help="remove a lock")
    unlocked.add_argument("name", metavar="NAME")
    return parser


def _main(given: argparse.Namespace) -> int:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    layout = Layout(given.root.absolute())
    try:
        if given.command == "enroll":
            return _enrol(layout, given)
        if given.command == "status":
            return _status(layout, given)
        if given.command == "renew":
            return _renew(layout)
        if given.command in ("lock", "unlock"):
            return _lock(layout, given)
        return _work(layout, is_once=given.command == "once")
    except Problem as problem:
        sys.stderr.write(f"{problem}\n")
        return NOT_AUTHORISED if isinstance(problem, NotAuthorised) else ERROR
    except Denied as denied:
        sys.stderr.write(f"the server refuses: {denied}\n")
        return NOT_AUTHORISED if denied.status in (401, 403) else ERROR
    except (Unreachable, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return ERROR
    except (KeyboardInterrupt, Stopped):
        return ERROR


def _enrol(layout: Layout, given: argparse.Namespace) -> int:
    join = JoinString.parse(given.join)
    enrolment = identity.enrol(layout, join, given.id, given.device_type)
    known = enrolment.identity
    sys.stdout.write(f"{known.device}\n")
    if enrolment.fingerprint:
        shown = enrolment.fingerprint
        if enrolment.is_key_change:
            LOG.info("%s is known with another key: approval would replace that", known.device)
        LOG.info("waits for approval, fingerprint %s", shown)
        LOG.info("  → towline device approve %s --fingerprint %s", known.device, shown)
    else:
        LOG.info("enrolled as %s of %s", known.device, known.organization)
    return OK


def _status(layout: Layout, given: argparse.Namespace) -> int:
    found = status.status(layout)
    is_json = given.output == "json"
    shown = json.dumps(found, indent=2) if is_json else status.as_text(found, why=given.why)
    sys.stdout.write(f"{shown}\n")
    return OK


def _renew(layout: Layout) -> int:
    identity.load(layout)
    renewal.begin(layout)
    LOG.info("the next key is made; the agent takes it once the server knows it")
    return OK


def _lock(layout: Layout, given: argparse.Namespace) -> int:
    if given.command == "lock":
        locks.put(layout, given.name, given.reason)
    else:
        locks.take(layout, given.name)
    return OK


def _work(layout: Layout, *, is_once: bool) -> int:
    known = identity.load(layout)
    layout.make()
    stop = Stop()
    with lock(layout):
        # Each start of `once` would be another boot; of what runs on, a start is one.
        device = Device(layout, known, stop, boot_id=scripts.boot() if is_once else "")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop.set)
        root = device.trust.root
        if root.is_development and root.root.threshold == 1:
            LOG.warning("warning: %s", status.DEVELOPMENT_WARNING)
        if is_once:
            return OK if loop.once(device) else ERROR
        LOG.info("%s follows %s", known.device, known.server)
        loop.run(device)
        return OK


if __name__ == "__main__":
    main()
