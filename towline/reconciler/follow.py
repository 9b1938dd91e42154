"""Following the branch: read its head, judge it, put it in force.

A head that does not load in part keeps the last good form of what is broken; one that is held keeps
the whole commit before it. What git wants is read once per commit and kept in memory as `Head`.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from towline.manifests.load import Loaded, load
from towline.manifests.model import Deployment
from towline.manifests.model_policy import Policy
from towline.manifests.policy import repository_policy
from towline.manifests.repository import Repository
from towline.manifests.yaml_tree import shortened
from towline.reconciler import device_entries
from towline.reconciler.candidate import Candidate
from towline.reconciler.commits import CommitFacts, handed_over, why_held
from towline.reconciler.head import CommitSeen, Head
from towline.reconciler.head_reading import read_head, replaces_roots
from towline.reconciler.looks import Looks
from towline.reconciler.renewing import renew
from towline.reconciler.store import dirt, freezes, git_devices, outbox, overrides, repositories
from towline.reconciler.store.engine import Store
from towline.reconciler.store.events import Event, record
from towline.reconciler.store.git_devices import Compared, Said
from towline.schemas.problems import Problem

AUTHOR_LIMIT = 120
"""Letters of a name, and of an address: they fit into the store together."""


class Follower:
    """Keeps `head` at what is in force; used by the loop's thread only.

    The leader calls `look`, which judges the branch; the others `keep_up` with what it applied.
    """

    def __init__(
        self,
        store: Store,
        repository: Repository,
        organization: str,
    ) -> None:
        self.store = store
        self.repository = repository
        self.organization = organization
        self.head: Head | None = None
        self._former: dict[str, Loaded] = {}
        self._looks = Looks(store, organization)
        self._judged: tuple[object, ...] = ()
        self._term_began = 0.0

    def begin_term(self) -> None:
        """Another process has judged until now: nothing of its own is known any more."""
        self._looks = Looks(self.store, self.organization)
        self._judged = ()
        self._term_began = time.monotonic()
        self.repository.fetch_soon()

    def keep_up(self) -> bool:
        """Read what another process put in force; False while git does not have it here yet."""
        with self.store.read() as connection:
            row = repositories.get(connection, self.organization)
        if row.applied_commit is None or self._is_at(row.applied_commit):
            return True
        head = self._in_force(row.applied_commit)
        if head is None:
            self.repository.fetch_soon()
            return False
        self.head = head
        return True

    def _is_at(self, commit: str) -> bool:
        return self.head is not None and self.head.commit.sha == commit

    def look(self, now: int) -> bool:
        """Judge the branch; returns True when another commit came into force."""
        try:
            has_come = self._look(now)
        except Problem as problem:
            self._looks.failed(problem, self._policy(), now)
            return False
        self._looks.succeeded(self.repository.seen_at(now))
        return has_come

    def is_let_through(self) -> bool:
        """A person accepted the commit that is held."""
        with self.store.read() as connection:
            row = repositories.get(connection, self.organization)
        return row.held_commit is not None and row.accepted_commit == row.held_commit

    def _look(self, now: int) -> bool:
        with self.store.read() as connection:
            row = repositories.get(connection, self.organization)
        if row.applied_commit is not None and not self._is_at(row.applied_commit):
            # After a restart, or by the leader before this one.
            self.head = self._in_force(row.applied_commit)
        sha = self.repository.head()
        if sha is None:
            raise Problem(f"the repository {self.repository.source} has no commit yet")
        is_here = self.head is not None or row.applied_commit is None
        if not is_here and not self.repository.is_fetched_since(self._term_began):
            # What is in force may only not have come here yet: nothing is judged without it.
            return False
        if sha == row.applied_commit and self.head is not None and not row.held_commit:
            return False
        # One that is held stays so until it, or what it is compared with, is another.
        signers = self.repository.signers_changed_at()
        judged = (sha, row.held_commit, row.applied_commit, row.accepted_commit, signers)
        if judged == self._judged:
            return False
        has_come = self._judge(self._read(sha), row, now)
        self._judged = (sha, sha, row.applied_commit, row.accepted_commit, signers)
        return has_come

    def _policy(self) -> Policy:
        """The one in force before whatever is looked at."""
        return repository_policy(self.head.policies if self.head else {})

    def _read(self, sha: str) -> Candidate:
        files = self.repository.read(sha)
        commit = self.repository.commit(sha)
        # Git sets no limit to who somebody is; a database does.
        name = shortened(commit.author_name, AUTHOR_LIMIT)
        email = shortened(commit.author_email, AUTHOR_LIMIT)
        seen = CommitSeen(sha, name, email, commit.subject, commit.time)
        return Candidate(seen, read_head(files, seen, self.organization))

    def _judge(self, candidate: Candidate, row: Any, now: int) -> bool:
        sha = candidate.commit.sha
        with self.store.read() as connection:
            rows = repositories.manifests_of(connection, self.organization)
        in_force = {name: each for name, each in rows.items() if each.commit}
        facts = CommitFacts(
            sha=sha,
            descends=row.applied_commit in (None, sha)
            or self.repository.is_ancestor(row.applied_commit, sha),
            is_accepted=row.accepted_commit == sha,
            in_force=in_force.keys(),
            wanted=candidate.wanted({n: r.file for n, r in in_force.items()}),
            handed_over=handed_over(
                self.head.deployments if self.head else {}, candidate.loaded.deployments
            ),
            holding_errors=candidate.read.holding_errors,
            unsigned=self.repository.why_unsigned(sha),
            replaces_roots=replaces_roots(self.head, candidate.read.head),
            max_removed=self._policy().max_removed,
        )
        if held := why_held(facts):
            self._hold(sha, held, row, now)
            return False
        self._apply(candidate, {name: r.commit for name, r in in_force.items()}, now)
        return True

    def _hold(self, sha: str, reason: str, row: Any, now: int) -> None:
        if (row.held_commit, row.hold_reason) == (sha, reason):
            return
        with self.store.write() as connection:
            repositories.change(connection, self.organization, held_commit=sha, hold_reason=reason)
            event = Event("repository.held", message=reason, cause="git", commit=sha)
            record(connection, self.organization, now, event)

    def _apply(self, candidate: Candidate, last_good: Mapping[str, str], now: int) -> None:
        head, rows = self._assemble(candidate, last_good)
        said = Said(
            self.organization, device_entries.git_devices(head.devices), candidate.keeps_device
        )
        # Before anybody has to wait for it: git may speak of very many devices.
        with self.store.read() as connection:
            compared = git_devices.compare(connection, said)
        with self.store.write() as connection:
            self._put_in_store(connection, candidate, head, rows, compared, now)
            repositories.change(
                connection,
                self.organization,
                applied_commit=head.commit.sha,
                applied_at=now,
                held_commit=None,
                accepted_commit=None,
                hold_reason="",
            )
            paused = [name for name, manifest in head.deployments.items() if manifest.paused]
            overrides.lapse_paused(connection, self.organization, paused)
            record(connection, self.organization, now, *candidate.events())
            outbox.tell_repository(connection, self.organization)
        self.head = head

    def _put_in_store(
        self,
        connection: Connection,
        candidate: Candidate,
        head: Head,
        rows: list[dict[str, Any]],
        devices: Compared,
        now: int,
    ) -> None:
        """What statements and documents read of a head."""
        # Before and after: what the commit removes has a last pass, what it brings a first.
        dirt.mark_all(connection, self.organization)
        repositories.replace_manifests(connection, self.organization, rows)
        told = git_devices.put_in_force(connection, devices)
        record(connection, self.organization, now, *candidate.as_its_doing(told))
        dirt.mark_all(connection, self.organization)
        is_renewed = renew(connection, self.head, head)
        if freezes.replace(connection, self.organization, head.freezes.values()) or is_renewed:
            outbox.ring_everyone(connection, self.organization)

    def _assemble(
        self, candidate: Candidate, last_good: Mapping[str, str]
    ) -> tuple[Head, list[dict[str, Any]]]:
        """The Head, broken Deployments in their last good form, and the rows that say so."""
        assert candidate.read.head is not None
        loaded = candidate.loaded
        deployments = dict(loaded.deployments)
        commits = dict.fromkeys(deployments, candidate.commit.sha)
        for name, sha in last_good.items():
            if name not in deployments and (old := self._last_good(name, sha, loaded)):
                deployments[name], commits[name] = old, sha
        rows = [
            {
                "organization": self.organization,
                "name": name,
                "file": manifest.file,
                "commit": commits[name],
                "errors": [str(e) for e in loaded.errors if _is_about(e, manifest)],
            }
            for name, manifest in deployments.items()
        ]
        rows += self._never_loaded(loaded, deployments)
        head = replace(candidate.read.head, deployments=deployments)
        return head, rows

    def _never_loaded(
        self, loaded: Loaded, deployments: Mapping[str, Deployment]
    ) -> list[dict[str, Any]]:
        """Broken from the first day on: shown, with no commit at which it ever loaded."""
        errors = [e for e in loaded.errors if e.name and e.name in loaded.broken]
        return [
            {
                "organization": self.organization,
                "name": name,
                "file": next(e.place.file for e in errors if e.name == name),
                "commit": "",
                "errors": [str(e) for e in errors if e.name == name],
            }
            for name in sorted(loaded.broken - set(deployments))
            if any(e.name == name for e in errors)
        ]

    def _last_good(self, name: str, sha: str, loaded: Loaded) -> Deployment | None:
        """The last good form of a Deployment that is broken now; None when it was removed."""
        old = self._loaded_at(sha).deployments.get(name)
        is_broken = name in loaded.broken or (old is not None and old.file in loaded.unreadable)
        return old if is_broken else None

    def _loaded_at(self, sha: str) -> Loaded:
        """What a former commit said; several Deployments may have loaded last at the same one."""
        if sha not in self._former:
            self._former = {sha: load(self.repository.read(sha))}
        return self._former[sha]

    def _in_force(self, sha: str) -> Head | None:
        """After a restart: what the applied commit said."""
        try:
            candidate = self._read(sha)
        except Problem:
            return None
        if candidate.read.head is None:
            return None
        with self.store.read() as connection:
            rows = repositories.manifests_of(connection, self.organization)
        return self._assemble(
            candidate, {name: row.commit for name, row in rows.items() if row.commit}
        )[0]


def _is_about(error: Any, manifest: Deployment) -> bool:
    if error.name is not None:
        return bool(error.name == manifest.name)
    return bool(error.place.file == manifest.file)
