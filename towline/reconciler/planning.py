"""Making a plan: put a head in force over a private store, rehearse, and tell what came of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from towline.manifests.policy import repository_policy
from towline.reconciler.commits import CommitFacts, handed_over, why_held
from towline.reconciler.head import Head
from towline.reconciler.head_reading import HeadRead
from towline.reconciler.obedient import FAR, Obedient
from towline.reconciler.plan import Change, DeploymentPlan, Plan, Said
from towline.reconciler.plan_conflicts import conflicts
from towline.reconciler.plan_telling import Before, Teller
from towline.reconciler.rehearsal import Rehearsal
from towline.reconciler.store import plan_reading, runs
from towline.reconciler.store.engine import Store
from towline.reconciler.store.private_copy import without_orders
from towline.reconciler.trial import Trial
from towline.schemas import times
from towline.schemas.problems import Problem


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
    most_played: int | None = None
    """More Deployments that the commit moves are refused."""
    go_on: Callable[[], None] = lambda: None
    """Called before each step; what it raises ends the plan."""


def make_plan(store: Store, base: Head | None, read: HeadRead, options: PlanOptions) -> Plan:
    """What putting `read` in force would do to the fleet in `store`, which is used up by it.

    `base` is what the manifests are compared with; None: nothing was ever in force. Raises Problem
    where the commit moves more Deployments than may be played.
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


def _refuse_too_many(played: int, most: int | None) -> None:
    if most is not None and played > most:
        raise Problem(
            f"the commit moves {played} Deployments, and a plan here plays at most {most}",
            remedy="split the commit, or run `towline plan` over an inventory file",
        )


class _Planner:
    """One rehearsal, from the store as it is to what is told of each Deployment."""

    def __init__(self, store: Store, base: Head | None, head: Head, options: PlanOptions) -> None:
        self.store, self.base, self.head, self.options = store, base, head, options
        self.trial = Trial(base, head)

    def tell(self) -> tuple[DeploymentPlan, ...]:
        """Everything, in order of names."""
        without_orders(self.store)
        with self.store.write() as connection:
            self.trial.put_in_force(connection)
            names = self.trial.names(connection)
            before = {name: self._before(connection, name) for name in names}
        rehearsal = Rehearsal(
            self.store,
            self.trial.played_head,
            Obedient(),
            now=self.options.now,
            poll_interval_s=self.options.poll_interval_s,
            go_on=self.options.go_on,
        )
        played = [name for name in before if self.trial.is_played(name, before[name].run)]
        _refuse_too_many(len(played), self.options.most_played)
        stories = rehearsal.play(played)
        wanted = [name for name in before if not self.options.only or name in self.options.only]
        with self.store.read() as connection:
            teller = Teller(
                connection, self.base, self.head, rehearsal.started_at, FAR, self.options.names
            )
            told = []
            for name in wanted:
                self.options.go_on()
                told.append(teller.tell(name, before[name], stories.get(name)))
            changed = {each.name for each in told if each.change is not Change.NONE}
            clashes = conflicts(
                connection,
                self.head,
                changed,
                everything=self.trial.is_fleet_changed,
                go_on=self.options.go_on,
            )
        return tuple(
            replace(each, errors=(*each.errors, *clashes.get(each.name, ()))) for each in told
        )

    def _before(self, connection: Connection, name: str) -> Before:
        """What the store knew of a Deployment before the head came into force."""
        manifest = self.head.deployments.get(name) or self.trial.old.get(name)
        organization = self.head.organization
        run = runs.newest_run(connection, organization, name)
        component = manifest.component if manifest else run.component if run else "system"
        lengths = plan_reading.past_installs(connection, organization, component)
        opened = runs.batches_of(connection, run.seq) if run else []
        return Before(run, len(opened), tuple(lengths))
