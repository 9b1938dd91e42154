"""What a pause, a cancel and a rollback do to a run's devices: counted, and in words. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from towline.reconciler.store.reading_acts import Standing
from towline.schemas.states import TargetState, Verb

COUNTED = frozenset({Verb.PAUSE, Verb.CANCEL, Verb.ROLLBACK})
"""The verbs that do something to devices at once."""
_UNBEGUN = frozenset({TargetState.PENDING, TargetState.DOWNLOADING})
_BEGUN = frozenset({TargetState.INSTALLING, TargetState.VERIFYING})


class Fate(StrEnum):
    """What becomes of one device."""

    GOES_BACK = "goesBack"
    FINISHES_FIRST = "finishesFirst"
    """It installs now, and goes back when that is over."""
    HAS_NO_PREVIOUS = "hasNoPrevious"
    IS_TAKEN_BACK = "isTakenBack"
    """Its grant is taken back; it was not begun."""
    FINISHES = "finishes"
    WAITS = "waits"
    NEVER_BEGINS = "neverBegins"
    STAYS = "stays"
    """It completed the run and keeps the release."""


_WORDS = {
    Fate.GOES_BACK: ("goes back", "go back"),
    Fate.FINISHES_FIRST: ("finishes first", "finish first"),
    Fate.HAS_NO_PREVIOUS: ("has nothing to go back to", "have nothing to go back to"),
    Fate.IS_TAKEN_BACK: ("gives its grant back", "give their grants back"),
    Fate.FINISHES: ("finishes", "finish"),
    Fate.WAITS: ("waits", "wait"),
    Fate.NEVER_BEGINS: ("never begins", "never begin"),
    Fate.STAYS: ("stays as it is", "stay as they are"),
}


@dataclass(frozen=True, slots=True)
class Consequences:
    """How many devices have which fate."""

    counts: tuple[tuple[Fate, int], ...]
    """In the order of `Fate`; none is 0."""

    def document(self) -> dict[str, int]:
        """As the API says it."""
        return {fate.value: n for fate, n in self.counts}

    def __str__(self) -> str:
        parts = [f"{n} {_WORDS[fate][n != 1]}" for fate, n in self.counts]
        if not parts:
            return "no device is concerned"
        n, _, rest = parts[0].partition(" ")
        parts[0] = f"{n} {'device' if n == '1' else 'devices'} {rest}"
        return ", ".join(parts)


def consequences(verb: Verb, standings: Iterable[Standing]) -> Consequences:
    """What `verb` does to devices that stand so now; other verbs than the three do nothing."""
    sums: Counter[Fate] = Counter()
    for each in standings:
        fate = _fate(verb, each)
        if fate is not None:
            sums[fate] += each.n
    return Consequences(tuple((fate, sums[fate]) for fate in Fate if sums[fate]))


def _fate(verb: Verb, each: Standing) -> Fate | None:
    match verb:
        case Verb.PAUSE:
            return _paused(each)
        case Verb.CANCEL:
            return _cancelled(each)
        case Verb.ROLLBACK:
            return _rolled_back(each)
    return None


def _paused(each: Standing) -> Fate | None:
    if each.state in _BEGUN:
        return Fate.FINISHES
    if each.state in _UNBEGUN:
        return Fate.IS_TAKEN_BACK if each.is_granted else Fate.WAITS
    return None


def _cancelled(each: Standing) -> Fate | None:
    if each.state in _UNBEGUN:
        return Fate.NEVER_BEGINS
    if each.state in _BEGUN:
        return Fate.FINISHES
    return Fate.STAYS if each.state is TargetState.COMPLETED else None


def _rolled_back(each: Standing) -> Fate | None:
    if each.state in _UNBEGUN:
        return Fate.NEVER_BEGINS
    if each.state not in (*_BEGUN, TargetState.COMPLETED):
        return None
    if not each.has_previous:
        return Fate.HAS_NO_PREVIOUS
    return Fate.GOES_BACK if each.state is TargetState.COMPLETED else Fate.FINISHES_FIRST
