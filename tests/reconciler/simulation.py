"""A fleet in memory around the real store, decisions and ingest: only time and devices are played.

Devices behave as the protocol says: they fetch a document, report steps, and report their versions
again once the next document is there. What they run and whether an install fails is the test's.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select

from tests.stores import open_quickly
from towline.manifests.load import load
from towline.reconciler.acts import Act, act
from towline.reconciler.documents import components_of
from towline.reconciler.head import CommitSeen, Head
from towline.reconciler.ingest import commit_reports, mark_fetched
from towline.reconciler.passing import pass_over
from towline.reconciler.store import repositories, runs
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import Store
from towline.reconciler.store.labels import intern_labels
from towline.reconciler.store.presence import mark_seen
from towline.schemas.desired_state import ComponentAction, ComponentWanted
from towline.schemas.identifiers import device_uuid
from towline.schemas.keys import PrivateKey
from towline.schemas.reports import Attempt, Installed, Report
from towline.schemas.root import Role, Root
from towline.schemas.statement import Statement, statement_path
from towline.schemas.states import TargetState, Verb

ORGANIZATION = "acme"
POLL_S = 60
RELEASE_KEY = PrivateKey.from_raw(b"\1" * 32)
ROOT = Root(
    version=1,
    organization=ORGANIZATION,
    expires=4_000_000_000,
    root=Role((RELEASE_KEY.public,), 1),
    release=Role((RELEASE_KEY.public,), 1),
    online=Role((RELEASE_KEY.public,), 1),
)


def checksum(version: str) -> str:
    """A checksum for a version's package."""
    return f"{sum(version.encode()) % 251:02x}" * 32


def manifest(version: str, more: str = "", name: str = "app") -> str:
    """A Deployment of `version`; `more` are lines of its spec, indented by two."""
    return f"""apiVersion: towline/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  component: {name}
  targetVersion: "{version}"
  package: {{url: {name}-{version}.tar.gz, checksum: "sha256:{checksum(version)}"}}
{more}"""


def statement(version: str, name: str = "app", rollback_index: int = 0) -> Statement:
    """The statement that fits `manifest`."""
    return Statement(
        organization=ORGANIZATION,
        component=name,
        version=version,
        file_name=f"{name}-{version}.tar.gz",
        sha256=checksum(version),
        size=10,
        unpacked_size=10,
        files=1,
        content_sha256="00" * 32,
        built_at=1_700_000_000,
        rollback_index=rollback_index,
    )


@dataclass
class PlayedDevice:
    """One device; `breaks` says for which versions its health check fails."""

    seq: int
    name: str
    installed: dict[str, Installed] = field(default_factory=dict)
    breaks: Callable[[str], bool] = lambda _version: False
    is_online: bool = True
    report_seq: int = 0
    etag: tuple[ComponentWanted, ...] | None = None


class Simulation:
    """The control plane with `devices` played devices; `step` lets a minute pass."""

    def __init__(self, folder: Path, devices: int = 8) -> None:
        self.store: Store = open_quickly(folder / "towline.db")
        self.now = 1_800_000_000
        self.head = Head(ORGANIZATION, CommitSeen("0" * 40), ROOT)
        self.commits = 0
        self.subject = "a change"
        self.stages_at_once = True
        self.on_step: Callable[[], None] = lambda: None
        """Called after every transaction of the reconciler that touched a device."""
        self.devices: dict[str, PlayedDevice] = {}
        with self.store.write() as connection:
            repositories.ensure(connection, ORGANIZATION, "fleet", "main", "", self.now)
        for n in range(1, devices + 1):
            self.enrol(f"till-{n}")

    def enrol(self, name: str, device_type: str = "generic", **labels: str) -> PlayedDevice:
        """Add a device that was just seen."""
        with self.store.write() as connection:
            seq = connection.execute(
                insert(t.edge_devices)
                .values(
                    id=device_uuid(ORGANIZATION, name),
                    slug=name,
                    organization=ORGANIZATION,
                    device_type=device_type,
                    label_set_id=intern_labels(connection, labels),
                    labels_git={},
                    labels_people={},
                    labels_join=labels,
                    state="active",
                    created_at=self.now,
                )
                .returning(t.edge_devices.c.seq)
            ).scalar_one()
            connection.execute(
                insert(t.device_state).values(device_seq=seq, last_seen=self.now, facts={})
            )
        self.devices[name] = PlayedDevice(seq, name)
        return self.devices[name]

    def commit(self, *documents: str, unsigned: tuple[str, ...] = ()) -> None:
        """Put manifests in force; every package is signed but those of `unsigned` versions."""
        self.commits += 1
        loaded = load({f"deployments/{n}.yaml": d.encode() for n, d in enumerate(documents)})
        assert not loaded.errors, [str(error) for error in loaded.errors]
        statements = dict(self.head.statements)
        for each in loaded.deployments.values():
            if each.target_version not in unsigned:
                word = statement(each.target_version, each.component)
                path = statement_path(word.component, word.version, word.file_name)
                statements[path] = word.sign(RELEASE_KEY).to_bytes()
        self.head = replace(
            self.head,
            commit=CommitSeen(
                f"{self.commits:040x}", "Ada", "ada@acme.example", self.subject, self.now
            ),
            deployments=loaded.deployments,
            groups=loaded.groups,
            statements=statements,
        )
        self.settle()

    def settle(self) -> None:
        """One pass over every Deployment; who is online stages at once what it is to prepare."""
        self.pass_over_all()
        if self.stages_at_once and self.stage():
            self.pass_over_all()

    def stage(self) -> bool:
        """Every device that is online and to prepare something reports it staged."""
        with self.store.read() as connection:
            rows = connection.execute(
                select(t.targets.c.device_seq).where(
                    t.targets.c.status == "pending",
                    t.targets.c.granted_at.is_(None),
                    t.targets.c.staged_at.is_(None),
                )
            )
            selected = set(rows.scalars())
        staging = [
            (device, component)
            for device in self.devices.values()
            if device.is_online and device.seq in selected
            for component in self.wanted(device)
            if component.action is ComponentAction.PREPARE
        ]
        for device, component in staging:
            with self.store.write() as connection:
                mark_fetched(connection, self.now, {(device.seq, component.name)})
            self.report(device, attempt_of(component, TargetState.PENDING, "Staged"))
        return bool(staging)

    def pass_over_all(self) -> None:
        """One pass over every Deployment there is or was."""
        with self.store.read() as connection:
            known = set(connection.execute(select(t.runs.c.deployment)).scalars())
        for name in sorted(known | set(self.head.deployments)):
            while pass_over(
                self.store, self.head, name, self.now, POLL_S, on_touched=lambda _: self.on_step()
            ):
                pass

    def wanted(self, device: PlayedDevice) -> tuple[ComponentWanted, ...]:
        """The components of the device's document."""
        return self.documents([device])[device.seq]

    def documents(
        self, devices: Iterable[PlayedDevice]
    ) -> Mapping[int, tuple[ComponentWanted, ...]]:
        """The components of these devices' documents, by their numbers."""
        asked = {device.seq: "https://server/packages/" for device in devices}
        with self.store.read() as connection:
            return components_of(connection, asked)

    def report(self, device: PlayedDevice, attempt: Attempt | None = None) -> None:
        """Send one report with what the device runs."""
        device.report_seq += 1
        sent = Report("j", device.report_seq, 0, attempt, versions=dict(device.installed))
        with self.store.write() as connection:
            commit_reports(connection, self.now, [(device.seq, sent)])

    def poll(self, device: PlayedDevice) -> None:
        """Fetch the document; act on it and report, or report versions once when it is new."""
        self.obey(device, self.wanted(device))

    def obey(self, device: PlayedDevice, wanted: tuple[ComponentWanted, ...]) -> bool:
        """Its document is this one; False when it was the same before."""
        with self.store.write() as connection:
            mark_seen(connection, {device.seq: self.now})
        is_new, device.etag = wanted != device.etag, wanted
        if not is_new:
            return False
        with self.store.write() as connection:
            mark_fetched(connection, self.now, {(device.seq, each.name) for each in wanted})
        self.report(device)
        for component in wanted:
            if component.action is ComponentAction.PREPARE:
                self.report(device, attempt_of(component, TargetState.PENDING, "Staged"))
            elif component.action is ComponentAction.INSTALL:
                self.install(device, component)
            elif component.action is ComponentAction.ROLLBACK:
                self.go_back(device, component)
        return True

    def install(self, device: PlayedDevice, component: ComponentWanted) -> None:
        """Carry out one attempt as an agent would."""
        for state in (TargetState.DOWNLOADING, TargetState.INSTALLING, TargetState.VERIFYING):
            self.report(device, attempt_of(component, state))
        if device.breaks(component.version):
            has_previous = component.name in device.installed
            state = TargetState.ROLLED_BACK if has_previous else TargetState.FAILED
            reason = "HealthCheckFailed" if has_previous else "NoPrevious"
            self.report(device, attempt_of(component, state, reason))
            return
        device.installed[component.name] = Installed(component.version, component.sha256)
        self.report(device, attempt_of(component, TargetState.COMPLETED))

    def install_by_hand(self, name: str, component: str, version: str) -> None:
        """Somebody puts something else on a device, past its agent; it reports what it runs."""
        device = self.devices[name]
        if component in device.installed:
            device.installed[component] = Installed(version, checksum(version))
            if device.is_online:
                self.report(device)

    def go_back(self, device: PlayedDevice, component: ComponentWanted) -> None:
        """Converge to what ran before, as an agent would."""
        for state in (TargetState.INSTALLING, TargetState.VERIFYING):
            self.report(device, attempt_of(component, state))
        device.installed[component.name] = Installed(component.version, component.sha256)
        back = attempt_of(component, TargetState.ROLLED_BACK, "RolledBackByUser")
        self.report(device, back)

    def step(self, times: int = 1) -> None:
        """A poll interval: every online device polls once, then the loop passes."""
        for _ in range(times):
            self.now += POLL_S
            online = [device for device in self.devices.values() if device.is_online]
            told = self.documents(online)
            for number, device in enumerate(online, 1):
                # What one reports may change what the others are to do.
                if self.obey(device, told[device.seq]):
                    told = self.documents(online[number:])
            self.settle()

    def run(self, name: str = "app") -> Any:
        """The newest run's row."""
        with self.store.read() as connection:
            return runs.newest_run(connection, ORGANIZATION, name)

    def verb(self, asked: Act | Verb, name: str = "app", *, accept: bool = False) -> None:
        """A person's act on the newest run."""
        if not isinstance(asked, Act):
            asked = Act(asked, accept=accept)
        run_id: UUID = self.run(name).id
        act(
            self.store,
            ORGANIZATION,
            run_id,
            asked,
            author="ops",
            reason="because",
            now=self.now,
        )
        self.settle()

    def targets(self, name: str = "app") -> Mapping[str, str]:
        """Status by device of the newest run; a skip shows its reason."""
        with self.store.read() as connection:
            rows = connection.execute(
                select(t.edge_devices.c.slug, t.targets.c.status, t.targets.c.reason)
                .join(t.targets, t.targets.c.device_seq == t.edge_devices.c.seq)
                .where(t.targets.c.run_seq == self.run(name).seq)
                .order_by(t.edge_devices.c.slug)
            )
            return {
                slug: reason if status == "skipped" else status for slug, status, reason in rows
            }


def attempt_of(component: ComponentWanted, state: TargetState, reason: str = "") -> Attempt:
    """A step of the component's attempt."""
    return Attempt(
        component=component.name,
        deployment=component.deployment,
        revision=component.revision,
        attempt=component.attempt,
        commit=component.commit,
        state=state,
        reason=reason,
        message="",
    )
