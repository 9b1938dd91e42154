"""`towline simulate`: how long a rollout takes and whom it harms, before it happens."""

import json
import re
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from towline.cli import simulate_sources
from towline.cli.durations import seconds
from towline.cli.exit_codes import Misused
from towline.cli.printing import give
from towline.cli.settings import load_fleet
from towline.cli.simulate_sources import Asked, Source
from towline.cli.simulate_text import text
from towline.schemas import times
from towline.schemas.problems import Refused

_SHARE = re.compile(r"(\d{1,3}(?:\.\d+)?)%")
_LABELLED = re.compile(r"([^=:]+)=([^=:]*):(.+)")
_HOUR_S = 3600


class SimulateFormat(StrEnum):
    """`-o` of `simulate`."""

    TEXT = "text"
    JSON = "json"


def _length(about: str) -> Any:
    return typer.Option(metavar="DURATION", help=about)


def simulate(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Deployments (default: all that would move)"),
    ] = None,
    server: Annotated[
        bool, typer.Option("--server", help="over the server's devices; this is the default")
    ] = False,
    store: Annotated[
        str | None, typer.Option(metavar="FILE|URL", help="over a server's store")
    ] = None,
    inventory: Annotated[
        Path | None, typer.Option(metavar="FILE", help="over `towline get devices -o json`")
    ] = None,
    devices: Annotated[
        int | None, typer.Option(min=1, help="over so many made-up devices that fit")
    ] = None,
    worktree: Annotated[
        bool, typer.Option("--worktree", help="what lies on the disk instead of HEAD")
    ] = False,
    bad_rate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[LABEL=VALUE:]SHARE", help="share of devices on which the release fails: 2%"
        ),
    ] = None,
    offline: Annotated[
        str, typer.Option(metavar="SHARE", help="share of devices that is not in touch: 5%")
    ] = "0%",
    offline_for: Annotated[
        str | None, _length("after about so long they are back (default: never)")
    ] = None,
    download: Annotated[str | None, _length("median of a download")] = None,
    install: Annotated[str | None, _length("median of an install")] = None,
    verify: Annotated[str | None, _length("median of the health checks")] = None,
    approve_after: Annotated[str, _length("people do what is asked of them after so long")] = "0s",
    seed: Annotated[int, typer.Option(help="the same seed gives the same answer")] = 1,
    runs: Annotated[
        int | None, typer.Option(min=1, help="runs to take the figures from (default: up to 20)")
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="when it starts: 2026-12-01T06:00:00Z")
    ] = None,
    output: Annotated[
        SimulateFormat, typer.Option("-o", "--output", help="text or json")
    ] = SimulateFormat.TEXT,
) -> None:
    """Play a rollout ahead of time on devices that fail, are silent and take their time."""
    chosen = [server, store is not None, inventory is not None, devices is not None]
    if sum(chosen) > 1:
        message = "--server, --store, --inventory and --devices exclude each other"
        raise typer.BadParameter(message)
    asked = Asked(
        names=tuple(names or ()),
        source=Source(store, inventory, devices),
        worktree=worktree,
        bad_rates=tuple(_rate(each) for each in bad_rate or ()),
        offline=share(offline),
        offline_for_s=_seconds(offline_for),
        download_s=_seconds(download),
        install_s=_seconds(install),
        verify_s=_seconds(verify),
        people_after_s=seconds(approve_after),
        seed=seed,
        runs=runs,
        starts_at=_starts_at(at, is_exact=store is not None),
    )
    document = simulate_sources.simulated(load_fleet(), asked)
    is_text = output is SimulateFormat.TEXT
    give(text(document) if is_text else json.dumps(document, indent=2, ensure_ascii=False))


def _starts_at(at: str | None, *, is_exact: bool) -> int:
    """The hour that has begun, so that asking twice gives one answer; a store is as of now."""
    if at is not None:
        try:
            return times.from_rfc3339(at)
        except Refused:
            raise Misused(f"{at!r} is no time", remedy="write 2026-12-01T06:00:00Z") from None
    now = int(time.time())
    return now if is_exact else now - now % _HOUR_S


def _seconds(text: str | None) -> int | None:
    return None if text is None else seconds(text)


def _rate(text: str) -> tuple[str, str, float]:
    """`2%` for all devices, or `hw=v1:30%` for those with a label."""
    found = _LABELLED.fullmatch(text)
    remedy = "write 2%, 0.5% or hw=v1:30%"
    if found is None:
        return "", "", share(text, remedy)
    return found[1], found[2], share(found[3], remedy)


def share(text: str, remedy: str = "write 2% or 0.5%") -> float:
    """`2%` -> 0.02; raises Misused."""
    found = _SHARE.fullmatch(text)
    if found is None or float(found[1]) > 100:
        raise Misused(f"{text!r} is no share", remedy=remedy)
    return float(found[1]) / 100
