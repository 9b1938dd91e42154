"""A process of a swarm that fails ends the whole swarm, and says by what."""

import sys
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from towline.reconciler.failure_model import FailureModel
from towline.schemas.enrolment import JoinString
from towline.schemas.problems import Problem
from towline.swarm import swarm
from towline.swarm.figures import Figures
from towline.swarm.settings import SwarmSettings

SETTINGS = SwarmSettings(
    devices=2,
    join=JoinString("https://127.0.0.1:9", "acme", "token", "sha256:0"),
    ca=None,
    device_type="generic",
    model=FailureModel(),
    seed=1,
    processes=2,
    ack_log=Path("log"),
    ends_after_s=1.0,
    prefix="swarm",
)
FULL = Problem("the log cannot be written", remedy="make room")


def fail_at_once(_settings: SwarmSettings, part: int, _root: bytes, pipe: Connection) -> None:
    pipe.send(FULL if part else Figures())
    if not part:
        pipe.recv()


def fail_at_the_end(_settings: SwarmSettings, part: int, _root: bytes, pipe: Connection) -> None:
    pipe.recv()
    pipe.send(FULL if part else Figures())


def die_at_once(_settings: SwarmSettings, part: int, _root: bytes, pipe: Connection) -> None:
    if part:
        sys.exit(3)
    pipe.recv()


def die_at_the_end(_settings: SwarmSettings, part: int, _root: bytes, pipe: Connection) -> None:
    pipe.recv()
    if part:
        sys.exit(3)


@pytest.mark.parametrize(
    ("play", "words"),
    [
        (fail_at_once, "the log cannot be written"),
        (fail_at_the_end, "the log cannot be written"),
        (die_at_once, "ended with exit code 3"),
        (die_at_the_end, "ended with exit code 3"),
    ],
)
def test_a_process_that_fails_is_a_problem_of_the_swarm(
    monkeypatch: pytest.MonkeyPatch, play: object, words: str
) -> None:
    async def root(_settings: SwarmSettings) -> bytes:
        return b""

    monkeypatch.setattr(swarm, "play", play)
    monkeypatch.setattr(swarm, "_first_root", root)
    with pytest.raises(Problem, match=words):
        swarm.run(SETTINGS, lambda *_: None, 60.0)
