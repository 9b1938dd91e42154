"""What earlier runs found, in a folder that git ignores.

Each run has a file of JSON, written anew after each row, so that a later row which fails, or a run
that is ended, loses nothing; and each row is a line of the history, with the sizes that it depends
on. Lines of an older form name no row, and are passed over.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
_HISTORY = "history.jsonl"


class Run:
    """What one run found so far."""

    def __init__(self, folder: Path, machine: Mapping[str, Any]) -> None:
        self._folder = folder
        self._found: dict[str, Any] = {"machine": machine, "rows": {}}
        stamp = machine["at"].replace(":", "").replace("+0000", "Z")
        self.file = folder / f"{stamp}.json"

    def keep(self, row: str, found: Mapping[str, Any]) -> None:
        """Write what a row found or why it found nothing, and remember it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._found["rows"][row] = found
        text = json.dumps(self._found, indent=1, ensure_ascii=False)
        part = self.file.with_suffix(".part")
        part.write_text(f"{text}\n")
        part.replace(self.file)
        line = {"at": self._found["machine"]["at"], "row": row, **found}
        with (self._folder / _HISTORY).open("a") as history:
            history.write(json.dumps(line, ensure_ascii=False) + "\n")


def before(folder: Path, row: str, asked: Mapping[str, Any]) -> dict[str, float]:
    """The newest value of each figure in earlier runs of a row that was asked for as much."""
    found: dict[str, float] = {}
    file = folder / _HISTORY
    if file.exists():
        for line in map(json.loads, file.read_text().splitlines()):
            if line.get("row") == row and line["asked"] == asked:
                found |= line.get("values", {})
    return found
