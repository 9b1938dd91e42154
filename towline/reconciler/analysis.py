"""What an answer to an analysis says, and where the analysis of a batch stands.

Pure and exact: figures are decimal numbers, never floats. "Cannot tell" is an outcome of its own,
which holds a batch and never passes it.
"""

import json
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from towline.manifests.model import Analysis
from towline.reconciler.store.analyses import Answer, Outcome

MAX_FIGURE_CHARS = 100
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,6})?")
_COMPARISONS: dict[str, Callable[[Decimal, Decimal], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


class State(StrEnum):
    """Where an analysis stands."""

    ASKING = "asking"
    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an analysis stands, for people and for clocks."""

    state: State
    message: str = ""
    next_ask_at: int | None = None
    """Set while it is asked: asking and inconclusive."""


class CannotTell(Exception):
    """An answer without the figure; the text is for people and holds nothing of the answer."""


def read_answer(body: bytes, analysis: Analysis, asked_at: int) -> Answer:
    """What the JSON text `body` says; whatever is not a plain number is unknown."""
    try:
        figure = _figure(body, analysis.value)
    except CannotTell as error:
        return cannot_tell(str(error), asked_at)
    holds = _COMPARISONS[analysis.comparison](Decimal(figure), Decimal(analysis.bound))
    message = f"{figure} is {'' if holds else 'not '}{analysis.comparison} {analysis.bound}"
    return Answer(asked_at, Outcome.PASSED if holds else Outcome.FAILED, figure, message)


def cannot_tell(message: str, asked_at: int) -> Answer:
    """An unknown outcome."""
    return Answer(asked_at, Outcome.UNKNOWN, message=message)


def _figure(body: bytes, path: str) -> str:
    """The text of the number at `path`; raises CannotTell."""
    try:
        # Numbers stay as they are written: a float would round them.
        found = json.loads(body, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        raise CannotTell("the answer is not JSON") from None
    for part in path.split("."):
        found = _step(found, part, path)
    if not isinstance(found, str):
        raise CannotTell(f"{path} is not a number")
    if len(found) > MAX_FIGURE_CHARS or _NUMBER.fullmatch(found) is None:
        raise CannotTell(f"{path} is not a plain number")
    return found


def _step(found: Any, part: str, path: str) -> Any:
    if isinstance(found, dict) and part in found:
        return found[part]
    if isinstance(found, list) and part.isdecimal() and part.isascii() and len(part) < 10:
        at = int(part)
        if at < len(found):
            return found[at]
    raise CannotTell(f"the answer has no {path}")


def standing(answers: Sequence[Answer], analysis: Analysis, since: int) -> Standing:
    """Where one analysis stands that began at `since`; the answers are in order.

    Only the last `count` answers since then matter. One clear answer that fails ends it; `count` in
    a row that pass do, too; as many without any clear one among them are inconclusive, and it goes
    on being asked. An answer that cannot be told breaks a row of passes.
    """
    asked = [answer for answer in answers if answer.asked_at >= since]
    last = asked[-analysis.count :]
    for answer in last:
        if answer.outcome is Outcome.FAILED:
            return Standing(State.FAILED, f"{analysis.name}: {answer.message}")
    is_whole = len(last) == analysis.count
    if is_whole and all(answer.outcome is Outcome.PASSED for answer in last):
        return Standing(State.PASSED, f"{analysis.name}: {last[-1].message}")
    next_ask_at = last[-1].asked_at + analysis.interval_s if last else since
    if is_whole and all(answer.outcome is Outcome.UNKNOWN for answer in last):
        message = f"{analysis.name}: {last[-1].message}"
        return Standing(State.INCONCLUSIVE, message, next_ask_at)
    return Standing(State.ASKING, _progress(last, analysis), next_ask_at)


def _progress(last: Sequence[Answer], analysis: Analysis) -> str:
    row = 0
    for answer in reversed(last):
        if answer.outcome is not Outcome.PASSED:
            break
        row += 1
    said = f"{analysis.name}: {row} of {analysis.count} in a row passed"
    if last and last[-1].outcome is Outcome.UNKNOWN:
        said += f" ({last[-1].message})"
    return said


_GRAVEST_FIRST = (State.FAILED, State.INCONCLUSIVE, State.ASKING, State.PASSED)


def together(standings: Iterable[Standing]) -> Standing:
    """Where a batch's whole analysis stands: the gravest one speaks; without any it passed."""
    found = list(standings)
    for state in _GRAVEST_FIRST:
        if said := [each.message for each in found if each.state is state]:
            times = [each.next_ask_at for each in found if each.next_ask_at is not None]
            is_over = state in (State.FAILED, State.PASSED)
            next_ask_at = None if is_over else min(times)
            return Standing(state, "; ".join(said), next_ask_at)
    return Standing(State.PASSED)
