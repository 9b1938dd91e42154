"""Asks the figures of analyses when they are due, and wakes the reconciler with each answer.

A thread of its own, so that a server that does not answer never holds up a pass; nothing is asked
inside a transaction. What is due is read from the store: a restart forgets nothing.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from towline.reconciler.analysis import CannotTell, cannot_tell, read_answer
from towline.reconciler.figures import Fetcher
from towline.reconciler.head import Head
from towline.reconciler.leadership import Deposed
from towline.reconciler.questions import Question, due_questions
from towline.reconciler.store import analyses, dirt
from towline.reconciler.store.analyses import Outcome
from towline.reconciler.store.engine import AWAY, Store
from towline.reconciler.store.trouble import while_serving

QUESTIONS_AT_ONCE = 4
IDLE_S = 60.0
"""Nothing is known to be due; `wake` tells of new work."""
FAILED_REST_S = 5.0

log = structlog.get_logger()


class Analyst:
    """Owns the thread; `wake` may be called from any thread, as after every pass."""

    def __init__(
        self,
        store: Store,
        head: Callable[[], Head | None],
        on_answer: Callable[[], None],
        clock: Callable[[], float] = time.time,
        fetcher: Fetcher | None = None,
    ) -> None:
        self._store = store
        self._head = head
        self._on_answer = on_answer
        self._clock = clock
        self._fetcher = fetcher or Fetcher()
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="analyst")

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """End; what is being asked is given up and asked again after the next start."""
        self._stopping.set()
        self._fetcher.stop()
        self._bell.set()
        self._thread.join()

    def wake(self) -> None:
        """A pass may have begun an analysis."""
        self._bell.set()

    def ask_due(self) -> float:
        """Ask everything that is due, a few at a time; returns the seconds until the next one."""
        head = self._head()
        if head is None:
            return IDLE_S
        with self._store.read() as connection:
            questions = due_questions(connection, head, int(self._clock()))
        if questions.due:
            with ThreadPoolExecutor(QUESTIONS_AT_ONCE, "question") as pool:
                # A list, so that an error in any of them is raised here.
                list(pool.map(lambda each: self._ask(head.organization, each), questions.due))
            return 0.0
        if questions.next_at is None:
            return IDLE_S
        return min(IDLE_S, max(0.0, questions.next_at - self._clock()))

    def _ask(self, organization: str, question: Question) -> None:
        if self._stopping.is_set():
            return
        asked_at = int(self._clock())
        try:
            body = self._fetcher.fetch(question.analysis.url)
            answer = read_answer(body, question.analysis, asked_at)
        except CannotTell as error:
            answer = cannot_tell(str(error), asked_at)
        if self._stopping.is_set() and answer.outcome is Outcome.UNKNOWN:
            return
        with self._store.write() as connection:
            analyses.write(
                connection, question.run_seq, question.batch, question.analysis.name, answer
            )
            dirt.mark(connection, organization, question.deployment)
        log.info(
            "analysis.answered",
            deployment=question.deployment,
            analysis=question.analysis.name,
            outcome=answer.outcome.value,
            message=answer.message,
        )
        self._on_answer()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._bell.clear()
            sleep_s = FAILED_REST_S
            try:
                sleep_s = self.ask_due()
            except Deposed:
                """Whoever leads now asks it again."""
            except AWAY as error:
                log.error("analysis.store-away", **while_serving(self._store.engine, error))
            except Exception:
                # A bug must be loud and must not end the thread.
                log.exception("analysis.failed")
            self._bell.wait(sleep_s)
