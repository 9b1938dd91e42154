"""Making Deployments for people: one at a time, by whom they are, refused in words."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from towline.manifests.editing import Way
from towline.manifests.writing import NotWritable, Overtaken, Signature
from towline.reconciler.creating import DeploymentBody
from towline.reconciler.creating_place import BadFields
from towline.reconciler.creation import create, edit
from towline.reconciler.creation_site import Created, Site
from towline.reconciler.refusals import NotAllowed
from towline.reconciler.server.desk import Declined, Desk, wall_clock
from towline.reconciler.store.engine import Store
from towline.reconciler.store.people import Person
from towline.schemas.identifiers import slug_of
from towline.schemas.problems import Problem


@dataclass(frozen=True, slots=True)
class Means:
    """How a commit is made."""

    words: str = "by a call of the API"
    on_branch: bool = False
    """Even where the Policy lets it go straight to the tracked branch."""


API = Means()


def site_of(desk: Desk, person: Person, store: Store, means: Means = API) -> Site:
    """Where the person's manifests are written; raises Declined where there is no such place."""
    head, repository = desk.head(), desk.repository
    if repository is None or (head is not None and head.organization != person.organization):
        raise Declined(404, "not-found", "this server follows no repository of your organization")
    if head is None:
        raise Declined(503, "not-ready", "no commit of the fleet repository is in force yet")
    return Site(
        store=store,
        repository=repository,
        head=head,
        author=signature_of(person),
        now=wall_clock(),
        seen_after=desk.seen_after(),
        means=means.words,
        on_branch=means.on_branch,
    )


def make(desk: Desk, person: Person, body: DeploymentBody, means: Means = API) -> Created:
    """Commit a new manifest; the caller holds the desk's `writing`. Raises Declined."""
    asked = {"name": body.deployment_name, "target_version": body.target_version}
    return _carry_out(
        desk, person, "deployment.create", asked, means, lambda site: create(site, body)
    )


def change(
    desk: Desk, person: Person, name: str, changes: Mapping[Way, Any], means: Means = API
) -> Created:
    """Commit other values of a manifest; the caller holds the desk's `writing`. Raises Declined."""
    asked = {"keys": [".".join(way) for way in changes]}
    return _carry_out(
        desk, person, "deployment.edit", asked, means, lambda site: edit(site, name, changes)
    )


def _carry_out(
    desk: Desk,
    person: Person,
    action: str,
    asked: Mapping[str, Any],
    means: Means,
    do: Callable[[Site], Created],
) -> Created:
    site_of(desk, person, desk.store)
    with desk.doing(person, action, **asked) as store, declining():
        return do(site_of(desk, person, store, means))


def signature_of(person: Person) -> Signature:
    """A person as the author of a commit, with an address in the organization."""
    name = re.sub(r"[<>\x00-\x1f]", "", person.name).strip(" .,:;\"'") or person.token_id
    return Signature(name, f"{slug_of(name)}@{person.organization}")


@contextmanager
def declining() -> Iterator[None]:
    """What making a manifest refuses, as an answer."""
    try:
        yield
    except BadFields as bad:
        faults = [{"field": field, "message": said} for field, said in bad.faults]
        raise Declined(422, "bad-field", str(bad), errors=faults) from None
    except NotAllowed as refused:
        raise Declined(409, "not-allowed", str(refused)) from None
    except Overtaken as overtaken:
        raise Declined(409, "overtaken", f"{overtaken.what}; send it again") from None
    except NotWritable as refused:
        raise Declined(409, "not-writable", f"{refused.what}; {refused.remedy}") from None
    except Problem as problem:
        raise Declined(503, "repository", problem.what) from None
