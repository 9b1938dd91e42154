"""The next devices of a run, found by walking its order: what is not walked over is not looked at.

Sorting all that fit finds the same ones. It is cheaper where few fit, as the walk passes all others
by, and it alone can count them.

How far a run was walked is kept with it (`walked`), so that the next walk goes on from there.
Whoever stands before that place and did not fit enters the run by a change of the device alone, and
those have numbers; whoever fits and was silent or busy is kept in a list, since time has none.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from sqlalchemy import Connection, Row

from towline.manifests.model import Deployment
from towline.reconciler import settled
from towline.reconciler.fitness import Fit
from towline.reconciler.head import Head
from towline.reconciler.offer import Offer
from towline.reconciler.scope import fit_of, for_offer, is_claimable, is_free, order_of
from towline.reconciler.store import changed_devices, fleet, walked, walking
from towline.reconciler.store.choice import Affine, Choice
from towline.reconciler.store.condition_keys import group_of
from towline.reconciler.store.remembered import remembered
from towline.reconciler.store.walked import BEGINNING, Cursor

WINDOW = 2048
"""So many places are looked at by one statement, or fewer where fewer are likely to do."""
_LEAST = 64
_CHEAPER = 4
"""A sort looks at each that fits, and at little of it: a walk must pass so many times fewer."""


@dataclass(frozen=True, slots=True)
class Found:
    """The devices to be taken next, in order, and what is to be kept once they are."""

    devices: Sequence[int]
    cursor: Cursor
    passed: Sequence[int]
    """They fit and are left behind."""
    heard: Sequence[int]
    """Those left behind before that were looked at again."""


class _Word(Enum):
    """What is to be done about a device without a target in the run."""

    TAKE = auto()
    LATER = auto()
    """It fits, and is silent or busy."""
    NO = auto()
    """A change of it alone could make it fit."""


def next_seen(
    connection: Connection,
    head: Head,
    manifest: Deployment,
    offer: Offer,
    run: Row[Any],
    choice: Choice,
    limit: int,
) -> Found | None:
    """The first `limit` devices in the run's order that it may take and that were seen lately.

    None: there are not so many, or all must be looked at to know.
    """
    order = order_of(manifest, run)
    if order is None or choice.since is not None or choice.within is not None:
        return None
    if is_claimable(choice):
        return None  # Who is another's is told so wherever in the order it stands.
    members = fleet.in_run(connection, run.seq)
    begun = _begun(connection, head, manifest, run)
    reach = places_to_walk(order.p, run.target_count, members, limit, begun.place)
    if reach is None:
        return None
    whole = for_offer(choice, manifest, offer, run)

    def ask() -> Found | None:
        judge = _Judge(connection, manifest, offer, run, whole)
        return _Walk(connection, whole, order, judge.word).first(begun, limit, reach)

    about = (whole, limit, manifest, offer, begun)
    return remembered(connection, "next seen", about, fleet.MADE_OF, ask)


def keep(
    connection: Connection, head: Head, manifest: Deployment, run: Row[Any], found: Found
) -> None:
    """Its devices were taken: the next walk goes on from there."""
    if settled.is_kept(connection, manifest):
        if _begun(connection, head, manifest, run) == BEGINNING:
            walked.forget(connection, run.seq)
        commit = head.commit.sha
        walked.keep(connection, run.seq, commit, found.cursor, found.passed, found.heard)


def _begun(connection: Connection, head: Head, manifest: Deployment, run: Row[Any]) -> Cursor:
    """Where the walk goes on; the filters and claims that it was walked for are the commit's."""
    if run.walked_for != head.commit.sha or not settled.is_kept(connection, manifest):
        return BEGINNING
    return Cursor(run.cursor_pos, run.walked_change)


def places_to_walk(
    places: int, total: int, members: int, limit: int, walked_to: int = 0
) -> int | None:
    """Pure: before which place the members and the next ones are likely to stand; None: too far.

    `total`: as many as the run has or will have. It may be old, and only what it costs depends
    on it.
    """
    if total <= members:
        return None
    likely = max((members + limit) * places // total - walked_to, limit * places // total)
    if likely * _CHEAPER > total - members:
        return None
    return walked_to + likely + likely // 2 + WINDOW


class _Walk:
    """Along one run's order."""

    def __init__(
        self,
        connection: Connection,
        choice: Choice,
        order: Affine,
        word: Callable[[int], _Word],
    ) -> None:
        self._connection, self._choice, self._order = connection, choice, order
        self._word = word

    def first(self, begun: Cursor, limit: int, reach: int) -> Found | None:
        """The first `limit` to be taken within so many places."""
        newest = changed_devices.newest(self._connection)
        begun, changed = self._known(begun)
        heard = walked.heard_again(self._connection, self._choice) if begun.place else []
        behind = [each for each in changed if self._order.place(each) < begun.place]
        found: list[int] = []
        passed: list[int] = []
        place = begun.place
        for numbers in self._windows({*heard, *behind}, begun.place, reach, limit):
            words = self._judged(numbers)
            for number in numbers:
                word = words.get(number, _Word.NO)
                if word is _Word.TAKE and len(found) < limit:
                    found.append(number)
                    place = max(place, self._order.place(number) + 1)
                elif word is not _Word.NO:
                    passed.append(number)
            if len(found) == limit:
                left = [each for each in passed if self._order.place(each) < place]
                return Found(found, Cursor(place, newest), left, heard)
        return None

    def _known(self, begun: Cursor) -> tuple[Cursor, Sequence[int]]:
        """Where it goes on, and who changed since; anew when more did than were passed by."""
        if begun == BEGINNING:
            return BEGINNING, ()
        changed = changed_devices.after(self._connection, begun.change, begun.place)
        return (BEGINNING, ()) if changed is None else (begun, changed)

    def _windows(
        self, behind: Iterable[int], place: int, reach: int, limit: int
    ) -> Iterator[Sequence[int]]:
        """Those left behind, in order, and then the places ahead, some at a time."""
        if known := sorted(behind, key=self._order.place):
            yield known
        size = max(_LEAST, limit + limit // 8)
        while place < min(reach, self._order.p):
            yield walking.numbers_at(self._order, place, min(size, WINDOW))
            place += min(size, WINDOW)
            size *= 2

    def _judged(self, numbers: Sequence[int]) -> Mapping[int, _Word]:
        keys = walking.keys_of_new(self._connection, self._choice, numbers)
        return {number: self._word(key) for number, key in keys.items()}


class _Judge:
    """Few conditions are many devices': each is judged once."""

    def __init__(
        self,
        connection: Connection,
        manifest: Deployment,
        offer: Offer,
        run: Row[Any],
        choice: Choice,
    ) -> None:
        self._manifest, self._offer, self._run, self._choice = manifest, offer, run, choice
        self._names = fleet.versions(connection, choice.component)
        self._judged: dict[int, _Word] = {}

    def word(self, key: int) -> _Word:
        """On devices of this condition."""
        if key not in self._judged:
            self._judged[key] = self._judge(key)
        return self._judged[key]

    def _judge(self, key: int) -> _Word:
        run = self._run
        group = group_of(self._choice, self._names, key, 1)
        if fit_of(self._manifest, self._offer, run, group) is not Fit.FITS:
            return _Word.NO
        is_free_now = is_free(self._manifest, run, group) and group.is_seen
        return _Word.TAKE if is_free_now else _Word.LATER
