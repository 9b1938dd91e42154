"""Playing the live loop ahead of time, in a store of one's own and on a virtual clock.

The steps are those of the live loop: observe, decide, apply. What devices do is asked of a
`Devices`; what people would have to do is noted and done. `towline plan` plays devices that all
succeed; a simulation plays ones that fail and take their time.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import Connection, Row, delete, update

from towline.reconciler.actions import Action, EndRun, Grant, Hold
from towline.reconciler.acts import NotAllowed, act
from towline.reconciler.apply import Performer
from towline.reconciler.decide import decide
from towline.reconciler.head import Head
from towline.reconciler.laid_over import with_overrides
from towline.reconciler.observe import SEEN_POLLS, observe, patience_of
from towline.reconciler.observe_slots import GRANTABLE_LIMIT
from towline.reconciler.store import outcomes, played_reading, runs, sweeps
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import Store
from towline.schemas.states import FINISHED_RUNS, RunState, Verb

PEOPLE_DO = {
    "WaitingForStart": Verb.START,
    "PausedByUser": Verb.RESUME,
    "PausedInGit": Verb.RESUME,
    "WaitingForApproval": Verb.APPROVE,
}
"""What a run waits for that only a person gives, and the verb that gives it."""
STEPS_LIMIT = 100_000
"""Of all Deployments together: a rehearsal that has not come to rest then is given up."""
IDLE_LIMIT = 50
"""A Deployment is at rest when its clock ran out so many times and nothing moved."""
HORIZON_S = 2 * 366 * 86400


class Devices(Protocol):
    """What the devices of a rehearsal do; every time is of the virtual clock."""

    def begin(self, connection: Connection, now: int, seen_after: int) -> None:
        """The rehearsal begins; devices not seen after `seen_after` are offline."""

    def ring(self, devices: Collection[int], now: int) -> None:
        """The documents of these devices changed."""

    def answer(self, connection: Connection, run: Row[Any], *, is_held: bool, now: int) -> bool:
        """Let the run's devices act; returns True when a target moved.

        While the run is held, only devices that hold a grant act.
        """

    def next_time(self) -> int | None:
        """When a device acts next without anything happening before; None: never."""


@dataclass(slots=True)
class Story:
    """What was seen of one Deployment."""

    waits: list[tuple[str, str]] = field(default_factory=list)
    """Reason and message of what it waited for, each once, in order."""
    last: Hold = field(default_factory=lambda: Hold(""))
    """What it waits for at the end."""
    idle: int = 0
    has_granted: bool = False
    """The last step gave grants: the clocks that they begin are looked at next time."""
    waited: Counter[str] = field(default_factory=Counter)
    """Seconds by the reason of what it waited for."""
    moved_at: int = 0
    """When anything of it moved last."""
    asks_since: int | None = None
    """Since when it waits for a person."""

    def note(self, reason: str, message: str) -> None:
        """Keep what it waits for."""
        if reason not in {each for each, _ in self.waits}:
            self.waits.append((reason, message))


class Rehearsal:
    """One head put in force over a private store; `play` goes to the end."""

    def __init__(
        self,
        store: Store,
        head: Head,
        devices: Devices,
        *,
        now: int,
        poll_interval_s: int,
        people_after_s: int = 0,
        go_on: Callable[[], None] = lambda: None,
    ) -> None:
        """People do what is asked of them after `people_after_s` seconds.

        `go_on` is called before each step; what it raises ends the rehearsal.
        """
        self.store = store
        self.head = head
        self.devices = devices
        self.poll_interval_s = poll_interval_s
        self.people_after_s = people_after_s
        self._go_on = go_on
        self.started_at = now + 1
        """Whatever happens in the rehearsal happens at this second or later."""
        self.now = self.started_at
        self.stories: dict[str, Story] = {}
        self._steps = 0
        with store.write() as connection:
            # Neither a recorded plan nor git's silence says anything of what is tried here.
            connection.execute(delete(t.plans))
            connection.execute(update(t.repositories).values(last_fetch_at=None))
            devices.begin(connection, now, now - SEEN_POLLS * poll_interval_s)

    def play(self, deployments: Sequence[str]) -> dict[str, Story]:
        """Play these Deployments until all are over or nothing moves; what was seen of each."""
        self.stories = {name: Story() for name in deployments}
        while self._steps < STEPS_LIMIT:
            # Each has its turn before the clock moves or a person acts.
            self._pass_over_all(deployments)
            has_moved = [self._let_people_act(name) for name in deployments]
            if any(has_moved):
                continue
            while (is_going_on := self._advance()) and self._only_devices_act():
                self._go_on()
            if not is_going_on:
                break
        return self.stories

    def _pass_over_all(self, deployments: Sequence[str]) -> None:
        """Until each is at rest, also after what any other one did."""
        at_rest: set[str] = set()
        while self._steps < STEPS_LIMIT:
            waiting = (each for each in deployments if each not in at_rest)
            name = next(waiting, None)
            if name is None:
                return
            if not self._is_done(name) and self._pass_over(name):
                at_rest.clear()
            at_rest.add(name)

    def _pass_over(self, name: str) -> bool:
        """As the live loop passes over a Deployment; True when anything moved."""
        story, has_moved = self.stories[name], False
        while self._steps < STEPS_LIMIT:
            self._go_on()
            self._steps += 1
            with self.store.write() as connection:
                # Devices first, so that nothing is left to do after a step that only waits.
                has_moved |= self._answer(connection, name)
                actions = self._step(connection, name)
            waits = [action for action in actions if isinstance(action, Hold)]
            if waits:
                story.last = waits[-1]
            story.has_granted = any(isinstance(action, Grant) for action in actions)
            if len(waits) == len(actions):
                break
            has_moved = True
            if waits:
                break
            if any(isinstance(action, EndRun) for action in actions) and self._is_done(name):
                break
        if has_moved:
            story.idle, story.moved_at = 0, self.now
        return has_moved

    def _is_done(self, name: str) -> bool:
        """Its run was completed here: what comes later, joiners and drift, is another story."""
        run = self.run(name)
        return (
            run is not None
            and run.status == RunState.COMPLETED.value
            and run.completed_at >= self.started_at
        )

    def _step(self, connection: Connection, name: str) -> list[Action]:
        over = with_overrides(connection, self.head, name)
        world = observe(connection, over, name, now=self.now, poll_interval_s=self.poll_interval_s)
        actions = decide(world)
        patience = patience_of(world.manifest, self.poll_interval_s)
        seen_after = self.now - patience.seen_s
        performer = Performer(connection, over, name, now=self.now, seen_after=seen_after)
        if touched := performer.perform(actions):
            self.devices.ring(touched, self.now)
        if world.run is not None and all(isinstance(action, Hold) for action in actions):
            self._note_sweep(connection, world.run.seq, patience.offline_s, world.is_swept)
        if world.run is not None and _leaves_nobody(actions):
            reason = "RollingBack" if world.run.goes_back else "RollingOut"
            return [*actions, Hold(reason)]
        return actions

    def _note_sweep(
        self, connection: Connection, run_seq: int, offline_s: int, is_swept: bool
    ) -> None:
        """Nobody else touches this store: the next sweep is when it can find somebody."""
        at = self.now
        if is_swept:
            silent_from = played_reading.silent_from(connection, run_seq, offline_s)
            at = max(at, min(silent_from, self.now + offline_s) - sweeps.sweep_s(offline_s))
        sweeps.note(connection, run_seq, self.head.commit.sha, at, is_swept=is_swept)

    def _answer(self, connection: Connection, name: str) -> bool:
        """Devices of the newest run act, and those that finish a former one."""
        organization = self.head.organization
        newest = runs.newest_run(connection, organization, name)
        if newest is None:
            return False
        held = bool(runs.holds_of(connection, organization, name, newest.seq))
        answered = self.devices.answer(connection, newest, is_held=held, now=self.now)
        for former in outcomes.unfinished(connection, organization, name, newest.seq):
            answered |= self.devices.answer(connection, former, is_held=True, now=self.now)
        return answered

    def _let_people_act(self, name: str) -> bool:
        """Note what the Deployment waits for; True when a person's verb moved it on."""
        story = self.stories[name]
        if story.last.reason:
            story.note(story.last.reason, story.last.message)
        verb = PEOPLE_DO.get(story.last.reason)
        run = self.run(name)
        if verb is None or run is None or RunState(run.status) in FINISHED_RUNS:
            story.asks_since = None
            return False
        story.asks_since = self.now if story.asks_since is None else story.asks_since
        if self.now < story.asks_since + self.people_after_s:
            return False
        try:
            act(
                self.store,
                self.head.organization,
                run.id,
                verb,
                # Each time another person: several may have to agree.
                author=f"rehearsal {self._steps}",
                reason="rehearsal",
                now=self.now,
            )
        except NotAllowed:
            return False
        story.last, story.asks_since = Hold(""), None
        return True

    def _advance(self) -> bool:
        """Move the clock to the next time that matters to what is not over; False: none does."""
        times = [self.devices.next_time()]
        if any(story.has_granted for story in self.stories.values()):
            times.append(self.now + self.poll_interval_s)
        for name, story in self.stories.items():
            run = self.run(name)
            is_over = run is None or RunState(run.status) in FINISHED_RUNS
            if not is_over and story.idle < IDLE_LIMIT:
                times.append(story.last.until)
                if story.asks_since is not None:
                    times.append(story.asks_since + self.people_after_s)
        ahead = [time for time in times if time is not None and time > self.now]
        if not ahead or min(ahead) > self.started_at + HORIZON_S:
            return False
        for story in self.stories.values():
            story.waited[story.last.reason] += min(ahead) - self.now
            story.idle += story.last.until == min(ahead)
        self.now = min(ahead)
        return True

    def _only_devices_act(self) -> bool:
        """Nothing but devices is due now, and none did what a decision looks at."""
        if any(story.has_granted for story in self.stories.values()):
            return False
        asked = [story.asks_since for story in self.stories.values()]
        clocks = [story.last.until for story in self.stories.values()]
        people = [since + self.people_after_s for since in asked if since is not None]
        if any(at is not None and at <= self.now for at in (*clocks, *people)):
            return False
        with self.store.write() as connection:
            return not any(self._answer(connection, name) for name in self.stories)

    def run(self, name: str) -> Row[Any] | None:
        """The Deployment's newest run as it stands."""
        with self.store.read() as connection:
            return runs.newest_run(connection, self.head.organization, name)


def _leaves_nobody(actions: Sequence[Action]) -> bool:
    """Grants alone, and no more could be given: at once another step would only wait."""
    return bool(actions) and all(
        isinstance(each, Grant) and len(each.devices) < GRANTABLE_LIMIT for each in actions
    )
