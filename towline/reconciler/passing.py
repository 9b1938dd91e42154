"""A pass over one Deployment: observe, decide, apply, step by step until nothing is to be done.

Steps follow each other in one transaction, as nobody else can write in between and what a step did
not write need not be read again. What a step did stays, though, when a later one fails.
"""

import time
from collections.abc import Callable, Set
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from towline.reconciler import settled
from towline.reconciler.actions import Hold
from towline.reconciler.apply import Performer
from towline.reconciler.decide import decide
from towline.reconciler.head import Head
from towline.reconciler.laid_over import with_overrides
from towline.reconciler.observe import observe, patience_of
from towline.reconciler.store import dirt, sweeps
from towline.reconciler.store.engine import Store
from towline.reconciler.store.silence import keep_silence

STEPS_LIMIT = 200
"""A Deployment that has not settled after so many steps is looked at in the next pass."""
TURN_S = 0.5
"""After so long others get their turns to write before the next step."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Done:
    """What came of a step, or of several."""

    is_settled: bool = False
    """Nothing is to be done but to wait."""
    goes_on: bool = False
    """A part was done, and the next one is left to the next pass."""
    touched: Set[int] = frozenset()
    """Devices whose documents changed."""
    steps: int = 0

    @property
    def is_over(self) -> bool:
        """Whether the pass is."""
        return self.is_settled or self.goes_on


class _LaterFailed(Exception):
    """A step failed after others of its transaction."""


def pass_over(
    store: Store,
    head: Head,
    deployment: str,
    now: int,
    poll_interval_s: int,
    on_touched: Callable[[set[int]], None] = lambda _: None,
) -> bool:
    """Observe, decide, apply one Deployment until nothing is to be done.

    True: a part was done, and the next one is left to the next pass, so that others have their
    turns meanwhile.
    `on_touched` gets the devices whose documents changed, after each commit: a later step that
    fails must not leave them unrung.
    """
    steps = 0
    while steps < STEPS_LIMIT:
        done = _turn(store, head, deployment, now, poll_interval_s)
        steps += done.steps
        if done.touched:
            on_touched(set(done.touched))
        if done.is_over:
            return done.goes_on
    log.error("deployment.unsettled", deployment=deployment, steps=steps)
    with store.write() as connection:
        dirt.mark(connection, head.organization, deployment)
    return False


def _turn(store: Store, head: Head, deployment: str, now: int, poll_interval_s: int) -> _Done:
    """Steps of one transaction; the first one alone where a later one fails: what it does stays."""
    try:
        return _steps(store, head, deployment, now, poll_interval_s, TURN_S)
    except _LaterFailed:
        return _steps(store, head, deployment, now, poll_interval_s, 0)


def _steps(
    store: Store, head: Head, deployment: str, now: int, poll_interval_s: int, turn_s: float
) -> _Done:
    """Steps of one transaction, the last of which begins within so many seconds."""
    touched: set[int] = set()
    steps, is_over = 0, False
    with store.write() as connection:
        began = time.monotonic()
        while not is_over:
            try:
                done = _step(connection, head, deployment, now, poll_interval_s)
            except Exception as error:
                if steps:
                    raise _LaterFailed from error
                raise
            touched |= done.touched
            steps += 1
            is_over = done.is_over or steps >= STEPS_LIMIT or time.monotonic() >= began + turn_s
    return _Done(done.is_settled, done.goes_on, touched, steps)


def _step(
    connection: Connection, head: Head, deployment: str, now: int, poll_interval_s: int
) -> _Done:
    over = with_overrides(connection, head, deployment)
    world = observe(connection, over, deployment, now=now, poll_interval_s=poll_interval_s)
    if world.run is not None:
        keep_silence(connection, world.run.seq, world.silence)
    actions = decide(world)
    seen_after = now - patience_of(world.manifest, poll_interval_s).seen_s
    performer = Performer(connection, over, deployment, now=now, seen_after=seen_after)
    touched = performer.perform(actions)
    done = _Done(all(isinstance(each, Hold) for each in actions), performer.goes_on, touched)
    if done.goes_on:
        dirt.mark(connection, head.organization, deployment)
    if done.is_over and world.run is not None:
        seq, commit = world.run.seq, head.commit.sha
        if world.is_swept or world.is_rechecked:
            sweeps.note(connection, seq, commit, now, is_swept=world.is_swept)
        if done.is_settled and world.fleet.is_settled and world.manifest is not None:
            settled.note(connection, over, world.manifest, seq, world.run.status.value)
    return done
