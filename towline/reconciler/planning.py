"""Making a plan: put a head in force over a private store, rehearse, and tell what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, Row, select

from towline.manifests.model import Deployment
from towline.manifests.policy import repository_policy
from towline.reconciler.commits import CommitFacts, handed_over, why_held
from towline.reconciler.head import Head
from towline.reconciler.head_reading import HeadRead
from towline.reconciler.obedient import FAR, Obedient
from towline.reconciler.plan import Change, DeploymentPlan, Plan, Said
from towline.reconciler.plan_conflicts import conflicts
from towline.reconciler.plan_telling import Before, Teller
from towline.reconciler.rehearsal import Rehearsal
from towline.reconciler.store import labels, plan_reading, runs
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import Store
from towline.schemas import times
from towline.schemas.states import FINISHED_RUNS, RunState


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """How a plan is asked for."""

    now: int
    poll_interval_s: int
    source: str
    """server, store or inventory."""
    names: bool = False
    only: tuple[str, ...] = ()
    """Deployments to tell of; empty: all."""


def make_plan(store: Store, base: Head | None, read: HeadRead, options: PlanOptions) -> Plan:
    """What putting `read` in force would do to the fleet in `store`, which is used up by it.

    `base` is what the manifests are compared with; None: nothing was ever in force.
    """
    head = read.head
    errors = [Said("DoesNotLoad", str(error)) for error in read.loaded.errors]
    if head is None or read.loaded.holds_commit:
        if read.root_error:
            errors.append(Said("NoRoot", f"trust/root: {read.root_error}"))
        commit = head.commit.sha if head else ""
        return _plan(options, read, base, commit, (), errors)
    errors += [Said("CommitHeld", held) for held in _held(base, read)]
    planner = _Planner(store, base, head, options)
    return _plan(options, read, base, head.commit.sha, planner.tell(), errors)


def _plan(
    options: PlanOptions,
    read: HeadRead,
    base: Head | None,
    commit: str,
    deployments: tuple[DeploymentPlan, ...],
    errors: Sequence[Said],
) -> Plan:
    organization = read.head.organization if read.head else (base.organization if base else "")
    return Plan(
        organization=organization,
        source=options.source,
        base=base.commit.sha if base else None,
        head=commit,
        made_at=times.to_rfc3339(options.now),
        deployments=deployments,
        errors=tuple(errors),
    )


def _held(base: Head | None, read: HeadRead) -> list[str]:
    """Why the server would hold the commit, as far as files tell."""
    in_force = base.deployments if base else {}
    facts = CommitFacts(
        sha=read.head.commit.sha if read.head else "",
        descends=True,
        is_accepted=False,
        in_force=in_force.keys(),
        wanted={*read.loaded.deployments, *read.loaded.broken}
        | ({*read.head.deployments} if read.head else set()),
        handed_over=handed_over(in_force, read.loaded.deployments),
        max_removed=repository_policy(base.policies if base else {}).max_removed,
    )
    held = why_held(facts)
    return [held] if held else []


def _without_figures(head: Head) -> Head:
    """Figures are measured on a real fleet: the plan names them and goes on."""
    asked = {name: replace(each, analysis=()) for name, each in head.deployments.items()}
    return replace(head, deployments=asked)


class _Planner:
    """One rehearsal, from the store as it is to what is told of each Deployment."""

    def __init__(self, store: Store, base: Head | None, head: Head, options: PlanOptions) -> None:
        self.store, self.base, self.head, self.options = store, base, head, options
        self.old: Mapping[str, Deployment] = base.deployments if base else {}
        self.is_fleet_changed = base is None or (base.groups, base.devices) != (
            head.groups,
            head.devices,
        )

    def tell(self) -> tuple[DeploymentPlan, ...]:
        """Everything, in order of names."""
        with self.store.write() as connection:
            self._set_labels(connection)
            before = {name: self._before(connection, name) for name in self._names(connection)}
        rehearsal = Rehearsal(
            self.store,
            _without_figures(self.head),
            Obedient(),
            now=self.options.now,
            poll_interval_s=self.options.poll_interval_s,
        )
        played = [name for name in before if self._is_played(name, before[name])]
        stories = rehearsal.play(played)
        wanted = [name for name in before if not self.options.only or name in self.options.only]
        with self.store.read() as connection:
            teller = Teller(
                connection, self.base, self.head, rehearsal.started_at, FAR, self.options.names
            )
            told = [teller.tell(name, before[name], stories.get(name)) for name in wanted]
            changed = {each.name for each in told if each.change is not Change.NONE}
            clashes = conflicts(connection, self.head, changed, everything=self.is_fleet_changed)
        return tuple(
            replace(each, errors=(*each.errors, *clashes.get(each.name, ()))) for each in told
        )

    def _names(self, connection: Connection) -> list[str]:
        live = connection.execute(
            select(t.runs.c.deployment)
            .where(
                t.runs.c.organization == self.head.organization,
                t.runs.c.status.not_in([state.value for state in FINISHED_RUNS]),
            )
            .distinct()
        ).scalars()
        return sorted({*self.old, *self.head.deployments, *live})

    def _set_labels(self, connection: Connection) -> None:
        """What the Device manifests say, where the commit changes it."""
        before = self.base.devices if self.base else {}
        after = self.head.devices
        touched = {name for name in {*before, *after} if before.get(name) != after.get(name)}
        if touched:
            labels.set_from_git(
                connection,
                self.head.organization,
                {name: dict(entry.labels) for name, entry in after.items()},
                {name for name, entry in after.items() if entry.revoked},
                is_kept=lambda name: name not in touched,
            )

    def _before(self, connection: Connection, name: str) -> Before:
        """What the store knew of a Deployment before the head came into force."""
        manifest = self.head.deployments.get(name) or self.old.get(name)
        organization = self.head.organization
        run = runs.newest_run(connection, organization, name)
        component = manifest.component if manifest else run.component if run else "system"
        lengths = plan_reading.past_installs(connection, organization, component)
        opened = runs.batches_of(connection, run.seq) if run else []
        return Before(run, len(opened), tuple(lengths))

    def _is_played(self, name: str, before: Before) -> bool:
        """What neither the commit nor a live run moves is left alone."""
        run: Row[tuple[object]] | None = before.run
        is_live = run is not None and RunState(run.status) not in FINISHED_RUNS
        return is_live or self.is_fleet_changed or not self._is_same(name)

    def _is_same(self, name: str) -> bool:
        old, new = self.old.get(name), self.head.deployments.get(name)
        return old is not None and new is not None and replace(old, file=new.file) == new
