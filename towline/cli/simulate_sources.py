"""Where a simulation's devices come from: the server, a store, an inventory, or made up."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from towline.cli.client import connect
from towline.cli.plan_commits import files_at, files_on_disk, read_words
from towline.cli.settings import Settings
from towline.reconciler.store.address import place_of
from towline.schemas.problems import Problem


@dataclass(frozen=True, slots=True)
class Source:
    """At most one is given; none: the server."""

    store: str | None
    """A file, or the URL of a database."""
    inventory: Path | None
    devices: int | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person wrote after `towline simulate`; shares are from 0 to 1."""

    names: tuple[str, ...]
    source: Source
    worktree: bool
    bad_rates: tuple[tuple[str, str, float], ...]
    """Label, value, share; an empty label is for all devices."""
    offline: float
    offline_for_s: int | None
    download_s: int | None
    install_s: int | None
    verify_s: int | None
    people_after_s: int
    seed: int
    runs: int | None
    starts_at: int


def simulated(settings: Settings, asked: Asked) -> dict[str, Any]:
    """The document of a simulation; raises Problem."""
    from towline.reconciler.failure_model import FailureModel, LabelledRate  # noqa: PLC0415 heavy
    from towline.reconciler.simulate_making import (  # noqa: PLC0415
        LengthsAsked,
        SimulateOptions,
        make_simulation,
    )

    head = _head(settings, asked)
    labelled = tuple(LabelledRate(*each) for each in asked.bad_rates if each[0])
    model = FailureModel(
        bad_rate=max((each[2] for each in asked.bad_rates if not each[0]), default=0.0),
        labelled=labelled,
        offline=asked.offline,
        offline_for_s=asked.offline_for_s,
    )
    store, base, head, source = _devices(settings, asked, head, labelled)
    options = SimulateOptions(
        starts_at=asked.starts_at,
        poll_interval_s=settings.poll_interval,
        source=source,
        model=model,
        lengths=LengthsAsked(asked.download_s, asked.install_s, asked.verify_s),
        seed=asked.seed,
        runs=asked.runs,
        people_after_s=asked.people_after_s,
        only=asked.names,
    )
    return make_simulation(store, base, head, options).document()


def _head(settings: Settings, asked: Asked) -> Any:
    """The commit to play, whole and in order."""
    from towline.reconciler.head import CommitSeen  # noqa: PLC0415 heavy
    from towline.reconciler.head_reading import read_head  # noqa: PLC0415

    if asked.worktree:
        commit = files_on_disk(settings)
    else:
        commit = files_at(settings, read_words(settings, ()).head)
    read = read_head(commit.files, CommitSeen(commit.commit), _organization(settings))
    errors = [*map(str, read.loaded.errors), *filter(None, [read.root_error])]
    if errors or read.head is None:
        raise Problem(errors[0], remedy="`towline validate` tells all that is wrong")
    unknown = sorted(set(asked.names) - read.head.deployments.keys())
    if unknown:
        raise Problem(
            f"there is no Deployment {', '.join(unknown)}",
            remedy="`towline get deployments -o name` lists those in force",
        )
    return read.head


def _devices(
    settings: Settings, asked: Asked, head: Any, labelled: tuple[Any, ...]
) -> tuple[Any, Any, Any, str]:
    """The store to play over, what is in force there, the head to play, and the source's name."""
    source = asked.source
    if source.devices is not None:
        return _made_up(asked, head, labelled, source.devices)
    if source.store is not None:
        return _from_store(settings, source.store, head)
    from towline.reconciler.inventory_file import read_inventory, store_of  # noqa: PLC0415 heavy

    if source.inventory is not None:
        items, name = read_inventory(source.inventory), "inventory"
    else:
        items, name = list(connect().parts("/devices", "devices")), "server"
    return store_of(items, _organization(settings), None, asked.starts_at), None, head, name


def _made_up(
    asked: Asked, head: Any, labelled: tuple[Any, ...], devices: int
) -> tuple[Any, Any, Any, str]:
    """Devices that fit one Deployment; the others are left out of the play."""
    from dataclasses import replace  # noqa: PLC0415

    from towline.reconciler.simulate_fleet import made_up_store  # noqa: PLC0415 heavy

    names = asked.names or tuple(head.deployments)
    if len(names) != 1:
        raise Problem(
            f"{len(names)} Deployments cannot share devices that are made up",
            remedy="name the one to simulate: towline simulate NAME --devices 1000",
        )
    manifest = head.deployments[names[0]]
    store = made_up_store(head, manifest, devices, labelled, asked.starts_at)
    return store, None, replace(head, deployments={names[0]: manifest}), "synthetic"


def _from_store(settings: Settings, named: str, head: Any) -> tuple[Any, Any, Any, str]:
    from towline.reconciler.head import CommitSeen  # noqa: PLC0415 heavy
    from towline.reconciler.head_reading import read_head  # noqa: PLC0415
    from towline.reconciler.store.plan_reading import commit_in_force  # noqa: PLC0415
    from towline.reconciler.store.private_copy import copy_of  # noqa: PLC0415

    organization = _organization(settings)
    store = copy_of(place_of(named))
    with store.read() as connection:
        in_force = commit_in_force(connection, organization)
    base = None
    if in_force is not None:
        files = files_at(settings, in_force).files
        base = read_head(files, CommitSeen(in_force), organization).head
    return store, base, head, "store"


def _organization(settings: Settings) -> str:
    assert settings.organization is not None
    return settings.organization
