"""`decide` on random snapshots: deterministic, bounded, and true to the manual's invariants."""

from dataclasses import replace
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from towline.manifests.load import load
from towline.manifests.model import Deployment, OnFailure
from towline.reconciler.actions import (
    Action,
    AddHold,
    Admit,
    BeginRun,
    EndRun,
    GoBack,
    Grant,
    Heal,
    Hold,
    MoveBatch,
    OpenBatch,
    StartRun,
)
from towline.reconciler.decide import decide
from towline.reconciler.holding import GRAVEST_FIRST
from towline.reconciler.snapshot import (
    Aftercare,
    AnalysisSeen,
    BatchSeen,
    Figures,
    FleetSeen,
    History,
    HoldSeen,
    Rules,
    RunSeen,
    Slots,
    Snapshot,
)
from towline.reconciler.verdict import Tally
from towline.schemas.states import PASSED_BATCHES, BatchState, RunState

from .simulation import manifest

NOW = 1_800_000_000


def deployment(more: str = "") -> Deployment:
    loaded = load({"d.yaml": manifest("1.0.0", more).encode()})
    assert not loaded.errors
    return loaded.deployments["app"]


CANARY = deployment("  strategy: canary\n  maxConcurrent: 5\n")
ANALYSED = deployment(
    "  analysis:\n"
    "    - {name: crashes, http: {url: 'http://prom/q', value: a.b}, pass: '< 1',"
    " interval: 1m, count: 2}\n"
)

small = st.integers(0, 12)
tallies = st.builds(Tally, small, small, small, small, small)


@st.composite
def batch_lists(draw: st.DrawFn) -> tuple[BatchSeen, ...]:
    """Batches as the store could hold them: all but the newest are over."""
    total = draw(st.integers(0, 2))
    batches = []
    for number in range(total):
        is_newest = number == total - 1
        states = list(BatchState)[1:] if is_newest else sorted(PASSED_BATCHES)
        members = draw(tallies)
        batches.append(
            BatchSeen(
                number=number,
                name=f"b{number}",
                is_last=number == 1,
                state=draw(st.sampled_from(states)),
                size=members.members + members.excused,
                success_threshold=draw(st.sampled_from([50, 95, 100])),
                soak_s=draw(st.sampled_from([0, 600])),
                opened_at=NOW - 1000,
                last_verdict_at=draw(st.sampled_from([None, NOW - 700, NOW - 10])),
                tally=members,
                is_alone=number == 0 and draw(st.booleans()),
                analysis_from=draw(st.sampled_from([None, NOW - 50])),
                needs_approval=draw(st.booleans()),
            )
        )
    return tuple(batches)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    batches = draw(batch_lists())
    is_started = bool(batches) or draw(st.booleans())
    wanted = replace(
        CANARY,
        paused=draw(st.booleans()),
        on_failure=draw(st.sampled_from(OnFailure)),
        max_concurrent=draw(st.integers(1, 8)),
        analysis=draw(st.sampled_from([(), ANALYSED.analysis])),
        self_heal=draw(st.booleans()),
    )
    status = draw(st.sampled_from(RunState))
    if not is_started and status is RunState.COMPLETED:
        status = RunState.PENDING
    run = RunSeen(
        seq=1,
        id=UUID(int=1),
        revision=draw(st.sampled_from([wanted.revision, "f" * 64])),
        status=status,
        reason=draw(st.sampled_from(["", "ManifestRemoved", "CancelledByUser"])),
        is_return=draw(st.booleans()),
        start_requested=draw(st.booleans()),
        created_at=NOW - 2000,
        started_at=NOW - 1500 if is_started else None,
        idle_since=draw(st.sampled_from([NOW - 100, NOW - 900_000])),
        goes_back=draw(st.sampled_from(["", "", "", "RolledBackByUser"])) if is_started else "",
        is_let_go=draw(st.booleans()),
    )
    matching, busy = draw(small), draw(small)
    seen = draw(st.integers(0, matching))
    held = draw(st.lists(st.sampled_from(GRAVEST_FIRST), unique=True, max_size=2))
    last = batches[-1] if batches else None
    return Snapshot(
        now=NOW,
        deployment="app",
        manifest=draw(st.sampled_from([wanted, wanted, wanted, None])),
        run=draw(st.sampled_from([run, run, run, None])),
        history=History(draw(st.integers(0, 3)), draw(st.booleans())),
        statement_problem=draw(st.sampled_from(["", "", "missing"])),
        is_retry_requested=draw(st.booleans()),
        is_resumed_over_git=draw(st.booleans()),
        holds=tuple(HoldSeen(reason, "", NOW - 5) for reason in held),
        batches=batches,
        next_plan=None if last and last.is_last else wanted.batches[len(batches)],
        batch_total=2,
        next_targets=sum(batch.tally.members for batch in batches),
        fleet=FleetSeen(matching + draw(small) > 0, matching, seen, busy, matching + busy),
        slots=Slots(
            grantable=tuple(range(draw(small))),
            in_flight=draw(st.integers(0, 10)),
            preparing=draw(small),
            waiting=draw(st.integers(0, 3)),
            budget_blocked=draw(st.booleans()),
            stalled_since=draw(st.sampled_from([None, NOW - 100, NOW - 900_000])),
        ),
        rules=Rules(
            policy_problem=draw(st.sampled_from(["", "", "forbidden"])),
            approvals_needed=draw(st.integers(0, 2)),
            start_approvals=draw(st.integers(0, 2)),
            batch_approvals=frozenset(draw(st.lists(st.integers(0, 1)))),
            figures_approved=frozenset(draw(st.lists(st.integers(0, 1)))),
            plan_excess=draw(st.sampled_from(["", "", "more"])),
            is_plan_approved=draw(st.booleans()),
            is_git_stale=draw(st.sampled_from([False, False, True])),
        ),
        analysis=AnalysisSeen(draw(st.sampled_from(Figures)), "crashes 2 of 5", NOW + 30),
        to_send_back=tuple(range(draw(st.integers(0, 2)))),
        going_back=draw(st.integers(0, 2)),
        aftercare=Aftercare(
            drifted=tuple(range(draw(st.integers(0, 5)))),
            served_within_hour=draw(small),
            recent=draw(tallies),
        ),
        next_clock=draw(st.sampled_from([None, NOW + 60])),
    )


def of_kind(actions: list[Action], *kinds: type) -> list[Action]:
    return [action for action in actions if isinstance(action, kinds)]


@given(snapshots())
def test_the_same_snapshot_gives_the_same_decision(world: Snapshot) -> None:
    assert decide(world) == decide(replace(world))


@given(snapshots())
def test_a_live_run_always_acts_or_says_what_it_waits_for(world: Snapshot) -> None:
    if world.run and world.manifest and world.run.status in (RunState.PENDING, RunState.PAUSED):
        assert decide(world)


@given(snapshots())
def test_never_more_is_granted_than_max_concurrent_leaves(world: Snapshot) -> None:
    for action in of_kind(decide(world), Grant):
        assert isinstance(action, Grant)
        assert world.manifest
        assert len(action.devices) + world.slots.in_flight <= world.manifest.max_concurrent


@given(snapshots())
def test_nothing_new_begins_while_a_hold_stands(world: Snapshot) -> None:
    if world.holds:
        assert not of_kind(decide(world), Grant, OpenBatch, Admit, StartRun, Heal)


@given(snapshots())
def test_no_batch_opens_before_the_former_passed(world: Snapshot) -> None:
    for action in of_kind(decide(world), OpenBatch):
        assert isinstance(action, OpenBatch)
        assert action.number == len(world.batches)
        assert all(batch.state in PASSED_BATCHES for batch in world.batches)
        assert action.size <= world.fleet.matching


@given(snapshots())
def test_a_batch_passes_only_by_its_threshold(world: Snapshot) -> None:
    for action in of_kind(decide(world), MoveBatch):
        assert isinstance(action, MoveBatch)
        if action.number == len(world.batches):
            continue  # opened for latecomers, after completion
        batch = world.batches[action.number]
        if action.state is BatchState.PASSED:
            passed, verdicts = batch.tally.passed, batch.tally.verdicts
            assert batch.tally.outstanding == 0
            assert passed * 100 >= batch.success_threshold * verdicts
            assert world.run
            is_gated = batch.size and not (batch.is_last or batch.is_alone or world.run.is_return)
            if is_gated and batch.needs_approval:
                assert batch.number in world.rules.batch_approvals
            if is_gated and world.manifest and world.manifest.analysis:
                figures, approved = world.analysis.figures, world.rules.figures_approved
                is_approved = figures is Figures.INCONCLUSIVE and batch.number in approved
                assert figures in (Figures.PASSED, Figures.NONE) or is_approved


@given(snapshots())
def test_one_period_in_which_git_wants_a_revision_is_one_run(world: Snapshot) -> None:
    for action in of_kind(decide(world), BeginRun):
        assert isinstance(action, BeginRun)
        run = world.run
        assert world.manifest
        assert (
            run is None
            or run.revision != world.manifest.revision
            or run.reason == "ManifestRemoved"
            or run.is_let_go
            or (action.is_retry and run.status in (RunState.FAILED, RunState.CANCELLED))
        )


@given(snapshots())
def test_a_final_run_stays_final(world: Snapshot) -> None:
    run = world.run
    if run and run.status in (RunState.FAILED, RunState.CANCELLED):
        assert not of_kind(decide(world), EndRun, OpenBatch, Admit, MoveBatch, StartRun)


@given(snapshots())
def test_a_run_starts_only_with_its_policy_plan_and_people_behind_it(world: Snapshot) -> None:
    if of_kind(decide(world), StartRun):
        assert world.run
        rules = world.rules
        assert world.run.is_return or (
            not rules.policy_problem
            and (not rules.plan_excess or rules.is_plan_approved)
            and rules.start_approvals >= rules.approvals_needed
        )


@given(snapshots())
def test_healing_stays_within_its_hourly_limit(world: Snapshot) -> None:
    care = world.aftercare
    served = sum(
        len(action.devices) if isinstance(action, Heal) else action.limit
        for action in decide(world)
        if isinstance(action, Heal | Admit)
    )
    if world.run and world.run.status is RunState.COMPLETED and served:
        assert world.manifest
        assert world.manifest.self_heal
        assert care.served_within_hour + served <= care.limit
        assert care.recent.passed * 100 >= 95 * care.recent.verdicts or not care.recent.failed


@given(snapshots())
def test_a_failed_gate_pauses_aborts_or_drains(world: Snapshot) -> None:
    last = world.last_batch
    if not (last and last.state is BatchState.FAILED and world.manifest and world.run):
        return
    is_followed = world.run.revision == world.manifest.revision
    if not is_followed or world.run.status is not RunState.IN_PROGRESS or world.holds:
        return
    if world.manifest.paused and not world.is_resumed_over_git:
        return
    if world.rules.is_git_stale or world.run.goes_back:
        return
    for action in decide(world):
        match action:
            case EndRun(status=status):
                assert status in (RunState.FAILED, RunState.CANCELLED)
            case AddHold(reason=reason):
                assert reason in ("ThresholdNotMet", "AnalysisFailed", "DeadlineExceeded")
            case _:
                assert isinstance(action, Hold | BeginRun | GoBack)
