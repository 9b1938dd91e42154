"""`towline swarm`: simulated devices that load a server as a fleet would, and what they saw."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from towline.cli.client import connect
from towline.cli.durations import seconds
from towline.cli.join import given_labels
from towline.cli.printing import give, tell
from towline.cli.settings import load
from towline.cli.simulate import share
from towline.cli.store_place import place_meant
from towline.cli.swarm_check import check
from towline.reconciler.failure_model import FailureModel, Lengths
from towline.schemas.enrolment import JoinString
from towline.swarm.ack_log import check_appendable


def swarm(
    devices: Annotated[int, typer.Option(min=1, max=100_000, help="how many")] = 100,
    server: Annotated[
        str | None, typer.Option(metavar="URL", help="whom they call (default: as every command)")
    ] = None,
    join: Annotated[
        str | None, typer.Option(metavar="JOIN", help="a join string; default: asks for one")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="KEY=VALUE that each gets; repeatable")
    ] = None,
    device_type: Annotated[str, typer.Option(help="what packages must be built for")] = "generic",
    bad_rate: Annotated[
        str, typer.Option(metavar="SHARE", help="share of devices on which a release fails: 2%")
    ] = "0%",
    offline: Annotated[
        str, typer.Option(metavar="SHARE", help="share of devices that is not in touch: 5%")
    ] = "0%",
    offline_for: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="after about so long they are (default: never)"),
    ] = None,
    download: Annotated[
        str, typer.Option(metavar="DURATION", help="median of a download")
    ] = f"{Lengths().download_s}s",
    install: Annotated[
        str, typer.Option(metavar="DURATION", help="median of an install")
    ] = f"{Lengths().install_s}s",
    verify: Annotated[
        str, typer.Option(metavar="DURATION", help="median of the health checks")
    ] = f"{Lengths().verify_s}s",
    seed: Annotated[int, typer.Option(help="the same seed fares alike")] = 1,
    processes: Annotated[int, typer.Option(min=1, max=64, help="to divide them among")] = 1,
    ends_after: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="end (default: at Ctrl-C)")
    ] = None,
    every: Annotated[str, typer.Option(metavar="DURATION", help="tell so often")] = "5s",
    ack_log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="keep the id of every acknowledged report")
    ] = None,
    check_ack_log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="only look for its reports in the store")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(metavar="FILE|URL", help="that store (default: the server's of this folder)"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the figures as JSON")] = False,
) -> None:
    """Play devices against a server; each enrols with a key of its own and is real to it."""
    if check_ack_log is not None:
        check(check_ack_log, place_meant(store, load()), as_json=as_json)
        return
    if store is not None:
        raise typer.BadParameter("--store is where --check-ack-log FILE looks; name that, too")
    _refuse_ignored(join, server, label)
    model = FailureModel(
        lengths=Lengths(seconds(download), seconds(install), seconds(verify)),
        bad_rate=share(bad_rate),
        offline=share(offline),
        offline_for_s=None if offline_for is None else seconds(offline_for),
    )
    ends_after_s = None if ends_after is None else seconds(ends_after)
    tell_every_s = seconds(every)
    labels = given_labels(label or [])
    if ack_log is not None:
        check_appendable(ack_log)
    line = join or _new_join(server, devices, labels)

    from towline.swarm import figures  # noqa: PLC0415 heavy
    from towline.swarm import swarm as playing  # noqa: PLC0415 heavy
    from towline.swarm.settings import SwarmSettings, new_prefix  # noqa: PLC0415 heavy

    found, took_s = playing.run(
        SwarmSettings(
            devices=devices,
            join=JoinString.parse(line),
            ca=load().ca,
            device_type=device_type,
            model=model,
            seed=seed,
            processes=min(processes, devices),
            ack_log=ack_log,
            ends_after_s=ends_after_s,
            prefix=new_prefix(),
        ),
        tell=lambda now, before, passed: tell(figures.line(now, before, passed)),
        tell_every_s=tell_every_s,
    )
    document = figures.document(found, took_s)
    give(json.dumps(document, indent=2) if as_json else figures.summary(found, took_s))
    figures.check_let_in(found)


def _refuse_ignored(join: str | None, server: str | None, labels: list[str] | None) -> None:
    """A join string names its server and has its labels: nothing said beside it would hold."""
    if join is not None and server is not None:
        raise typer.BadParameter("--join names the server already: leave --server out")
    if join is not None and labels:
        raise typer.BadParameter(
            "--join has its labels already: give them to `towline join create --label`"
        )


def _new_join(server: str | None, devices: int, labels: dict[str, str]) -> str:
    """A join string that lets so many in, from the server that holds here or is named."""
    settings = load()
    if server is not None:
        settings = replace(settings, server=server)
    body = {"labels": labels, "max_uses": devices}
    return str(connect(settings).post("/join-tokens", **body)["join"])
