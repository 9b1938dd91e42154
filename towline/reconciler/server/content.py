"""What a device should run, as its document says it: unsigned, one for all that are alike."""

from collections.abc import Sequence
from dataclasses import dataclass

from towline.reconciler.server.wire import Answer
from towline.schemas import desired_state
from towline.schemas.desired_state import ComponentAction, ComponentWanted


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Content:
    """What devices should run, unsigned; one for all that should run the same."""

    written: bytes
    """The components as they stand in a document."""
    etag: str
    work: tuple[str, ...]
    """What is to be downloaded or installed: the clocks of these components begin."""
    unchanged: Answer
    """What is said to who has it."""

    @classmethod
    def of(cls, components: Sequence[ComponentWanted]) -> "Content":
        """Of these components."""
        work = [each.name for each in components if each.action is not ComponentAction.KEEP]
        written = desired_state.write(components)
        etag = desired_state.etag(components)
        return cls(written, etag, tuple(work), Answer(304, headers=(("etag", etag),)))


@dataclass(frozen=True, slots=True)
class Kept:
    """One device's content as it was read, and what it was true for."""

    rings: int
    """How often the device's bell had rung."""
    packages_url: str
    """Where it reaches the server's packages."""
    content: Content
