"""What the wizard shows beside its forms: devices, package and statement, plan and text."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from towline.manifests.model import Deployment
from towline.manifests.policy import policy_for
from towline.reconciler.creating_place import BadFields, alone
from towline.reconciler.creation_commit import goes_straight
from towline.reconciler.creation_site import Site
from towline.reconciler.draft import Draft, Step
from towline.reconciler.manifest_diff import manifest_diff
from towline.reconciler.matching import matching
from towline.reconciler.plan_text import text as plan_text
from towline.reconciler.proposal import Proposal, propose, propose_edit
from towline.reconciler.refusals import NotAllowed
from towline.reconciler.server import plans
from towline.reconciler.server.desk import Declined, Desk
from towline.reconciler.server.making import declining
from towline.reconciler.server.package_look import CannotLook, Looked, PackageLook
from towline.reconciler.server.plans import CommitFiles, PlanRequest
from towline.reconciler.statements import find_offer
from towline.reconciler.store.people import Person
from towline.schemas.problems import Problem
from towline.schemas.statement import statement_path

_COMMAND = "towline release sign"


@dataclass(frozen=True)
class Workshop:
    """One request's draft, and where its manifest is to be written."""

    desk: Desk
    site: Site
    draft: Draft
    before: Draft | None = None
    """Of the manifest that is edited, as it is."""
    looked: Looked | None = None

    def of(self, draft: Draft, looked: Looked | None = None) -> "Workshop":
        """The same with another draft."""
        return replace(self, draft=draft, looked=looked)

    @cached_property
    def files(self) -> Mapping[str, bytes]:
        """What the branch's newest commit holds; raises Declined where it cannot be read."""
        with declining():
            parent = self.site.repository.head()
            return self.site.repository.read(parent) if parent is not None else {}

    def proposal(self) -> Proposal:
        """The commit that it would come to; raises BadFields, NotAllowed, or Problem."""
        if self.before is None:
            return propose(self.site, self.draft.body())
        return propose_edit(self.site, self.draft.edits, self.draft.changes(self.before))

    def manifest(self) -> Deployment | None:
        """What the manifest would say so far; None where it does not load."""
        try:
            if self.before is None:
                return alone(self.draft.body(is_whole=False), self.files)
            if self.draft.changes(self.before):
                return self.proposal().manifest
        except (BadFields, NotAllowed, Problem):
            return None
        return self.site.head.deployments.get(self.draft.edits)


def values(shop: Workshop, step: Step, person: Person) -> dict[str, Any]:
    """What the page of a step needs."""
    match step:
        case Step.TARGETS:
            return {"matching": _matching(shop), "groups": sorted(shop.site.head.groups)}
        case Step.PACKAGE:
            return _package(shop)
        case Step.REVIEW:
            return _review(shop, person)
    return {}


def look(looking: PackageLook, shop: Workshop) -> tuple[Looked | None, str]:
    """What lies at the package's address, or why that cannot be told."""
    manifest = shop.manifest()
    file = manifest.file if manifest else ""
    hosts = policy_for(shop.site.head.policies, file).package_hosts
    try:
        return looking.look(shop.draft.update_package_url, hosts), ""
    except CannotLook as cannot:
        return None, str(cannot)


def _matching(shop: Workshop) -> Any:
    manifest = shop.manifest()
    if manifest is None:
        return None
    with shop.site.store.read() as connection:
        return matching(connection, shop.site.head, manifest, shop.site.seen_after)


def _package(shop: Workshop) -> dict[str, Any]:
    """The statement that was found, or the command that makes it."""
    shown: dict[str, Any] = {"looked": shop.looked, "statement": "", "missing": "", "command": ""}
    manifest = shop.manifest()
    if manifest is None or not shop.draft.checksum:
        return shown
    offer, problem = find_offer(manifest, shop.files, shop.site.head.root)
    if offer is not None:
        name = manifest.packages[0].file_name
        path = statement_path(manifest.component, manifest.target_version, name)
        return shown | {"statement": path}
    words, found, options = problem.partition(_COMMAND)
    command = f"{_COMMAND}{options}" if found else ""
    return shown | {"missing": words.rstrip(": "), "command": command}


def _review(shop: Workshop, person: Person) -> dict[str, Any]:
    blank: dict[str, Any] = {"text": "", "file": "", "diff": [], "removed": [], "again": ""}
    blank |= {"plan": "", "has_errors": True, "straight": False, "refused": "", "statement": {}}
    try:
        proposal = shop.proposal()
    except BadFields as bad:
        return blank | {"refused": str(bad)}
    except (NotAllowed, Problem) as refused:
        return blank | {"refused": str(refused)}
    manifest = proposal.manifest
    former = proposal.files.get(manifest.file, b"").decode("utf-8", "replace")
    told = _plan(shop.desk, person, proposal)
    return (
        blank
        | told
        | {
            "text": proposal.text,
            "file": manifest.file,
            "diff": manifest_diff(former, proposal.text) if shop.before else [],
            "removed": list(proposal.takes_place_of),
            "again": "" if proposal.changes else manifest.name,
            "straight": goes_straight(shop.site, manifest.file),
            "statement": _package(shop),
        }
    )


def _plan(desk: Desk, person: Person, proposal: Proposal) -> dict[str, Any]:
    """The plan's text, or why there is none."""
    files = {path: data.decode("utf-8", "replace") for path, data in proposal.after.items()}
    asked = PlanRequest(
        head=CommitFiles(commit="worktree", files=files),
        only=(proposal.manifest.name, *proposal.takes_place_of),
    )
    try:
        document = plans.plan(desk, person, asked)
    except Declined as declined:
        return {"plan": f"There is no plan: {declined.detail}.", "has_errors": True}
    return {"plan": plan_text(document), "has_errors": _stops(document)}


def _stops(document: Mapping[str, Any]) -> bool:
    """True for an error of these Deployments; a signature may come later, as the page says."""
    errors = [each for told in document["deployments"] for each in told["errors"]]
    return any(each["reason"] != "WaitingForStatement" for each in errors)
