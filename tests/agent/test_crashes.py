"""A stop at a write: the agent starts again and ends healthy, with a true report.

The agent runs in this process. Every durable write is a place to stop at: before it for the even
ones, after it for the odd ones.
"""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.agent.fleet_server import ORGANIZATION, FleetServer, Keys
from tests.agent.packages import AgentProcess, publish
from towline.agent import durable, identity, loop, trust_store
from towline.agent.device import Device
from towline.agent.layout import Layout
from towline.agent.stop import Stop
from towline.agent.trust_store import TrustStore
from towline.schemas.keys import PrivateKey
from towline.schemas.verifier import BUILT_AT, TrustState

SICK = {"health.sh": "#!/bin/sh\nexit 1\n"}
ENDS = ("completed", "failed", "rolled_back")
ORDER = ["downloading", "installing", "verifying", *ENDS]


class Crash(BaseException):
    """The power goes."""


@contextmanager
def crash_at(number: int, *, after: bool) -> Iterator[None]:
    """Stop at the write with that number, counted from 0."""
    count = 0

    def cutting(write: Callable[..., None]) -> Callable[..., None]:
        def cut(*arguments: Any, **more: Any) -> None:
            nonlocal count
            is_now = count == number
            count += 1
            if is_now and not after:
                raise Crash
            write(*arguments, **more)
            if is_now:
                raise Crash

        return cut

    with pytest.MonkeyPatch.context() as patch:
        for name in ("write_file", "point"):
            patch.setattr(durable, name, cutting(getattr(durable, name)))
        yield


def start(agent: AgentProcess) -> bool:
    layout = Layout(agent.root)
    device = Device(layout, identity.load(layout), Stop())
    try:
        return loop.once(device)
    finally:
        device.server.close()


def survive(agent: AgentProcess, number: int, *, after: bool) -> bool:
    """Run with a crash, then run again; False when there was no such write."""
    try:
        with crash_at(number, after=after):
            start(agent)
    except Crash:
        assert agent.current() in ("1.0.0", "1.1.0")
        assert start(agent)
        return True
    return False


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("files", "version", "state"),
    [
        ({}, "1.1.0", "completed"),
        (SICK, "1.0.0", "rolled_back"),
        (SICK | {"backup.paths": "installed\n"}, "1.0.0", "rolled_back"),
    ],
)
def test_a_stop_before_or_after_a_write_ends_with_one_healthy_release_and_one_true_report(
    server: FleetServer,
    agent: AgentProcess,
    tmp_path: Path,
    files: dict[str, str],
    version: str,
    state: str,
    after: bool,
) -> None:
    server.want("pi-1", publish(server, tmp_path, "1.0.0"))
    assert start(agent)
    new = publish(server, tmp_path, "1.1.0", files)
    for number in range(after, 60, 2):
        server.forget_reports()
        server.want("pi-1", new)
        shutil.copytree(agent.root, tmp_path / f"{number}", symlinks=True)
        copy = AgentProcess(tmp_path / f"{number}")
        was_cut = survive(copy, number, after=after)
        states = server.states("pi-1")
        told = (number, server.last("pi-1"))
        assert (copy.installed(), copy.current()) == (version, version), told
        assert [s for s in states if s in ENDS] == [state], told
        assert states == sorted(states, key=ORDER.index)
        if not was_cut:
            assert number > 10
            return
    raise AssertionError("there is no end of writes")


@pytest.mark.parametrize("after", [False, True])
def test_a_stop_while_new_online_keys_are_taken_does_not_keep_what_the_old_ones_did(
    tmp_path: Path, after: bool
) -> None:
    layout, old = Layout(tmp_path), Keys()
    layout.make()
    trust_store.store_first_root(layout, old.make_root().sign(old.root))
    store = TrustStore(layout, ORGANIZATION)
    spoilt = dataclasses.replace(store.state, sequence=10**12, time_floor=2**33)
    store.write(dataclasses.replace(spoilt, rollback_indexes={"app": 3}), None)
    new = dataclasses.replace(old, online=PrivateKey.generate())
    roots = {2: new.make_root(2).sign(old.root)}
    with pytest.raises(Crash), crash_at(0, after=after):
        store.follow(roots.get)
    store = TrustStore(layout, ORGANIZATION)
    assert store.state.sequence == (0 if after else 10**12)
    store.follow(roots.get)
    assert store.root.version == 2
    assert store.state == TrustState(
        rollback_indexes={"app": 3}, online_keyids=(new.online.public.keyid,)
    )
    assert store.state.time_floor == BUILT_AT
