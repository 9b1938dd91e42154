"""What earlier runs found: one line of JSON for each, in a folder that git ignores."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
_HISTORY = "history.jsonl"


def keep(folder: Path, found: Mapping[str, Any]) -> Path:
    """Write what a run found, and remember it; the file of this run."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = found["machine"]["at"].replace(":", "").replace("+0000", "Z")
    file = folder / f"{stamp}.json"
    file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    with (folder / _HISTORY).open("a") as history:
        history.write(json.dumps(found, ensure_ascii=False) + "\n")
    return file


def before(folder: Path, asked: Mapping[str, Any]) -> dict[str, float]:
    """The newest value of each figure in earlier runs that were asked for as much."""
    found: dict[str, float] = {}
    file = folder / _HISTORY
    if file.exists():
        for run in map(json.loads, file.read_text().splitlines()):
            if run["asked"] == asked:
                found |= run["values"]
    return found
