"""What a live view tells its readers, as a server-sent event and as the text of a WebSocket.

One message goes to many readers, so that it is written once for all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson


@dataclass(frozen=True)
class Message:
    """`figures`, `end` when a run is over, or `heartbeat` when nothing changed for a while."""

    number: int | None
    """Of the newest event that its reader knows of: where who comes again goes on."""
    kind: str
    document: Mapping[str, Any]

    @cached_property
    def event(self) -> bytes:
        """As a server-sent event."""
        number = b"" if self.number is None else b"id: %d\n" % self.number
        data = orjson.dumps(self.document)
        return number + b"event: %s\ndata: %s\n\n" % (self.kind.encode(), data)

    @cached_property
    def text(self) -> str:
        """As the text of a WebSocket: the same three, in one object."""
        whole = {"id": self.number, "event": self.kind, "data": self.document}
        return orjson.dumps(whole).decode()


def told(
    shown: Mapping[str, Any], events: Sequence[Mapping[str, Any]], number: int, limit: int
) -> Message:
    """Figures with what happened; of more than `limit` events it says that there are more."""
    more = {"more_events": True} if len(events) > limit else {}
    return Message(number, "figures", {**shown, "events": events[:limit], **more})


def end_of(message: Message) -> Message:
    """What follows the last figures of a run."""
    return Message(message.number, "end", {"status": message.document["status"]})
