"""What each organization has before it is served: its rows, its first token, the key that signs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from towline.manifests.remote import Remote
from towline.manifests.repository import Repository
from towline.reconciler.head_reading import root_chain
from towline.reconciler.server import tls
from towline.reconciler.server.online_key import OnlineKey
from towline.reconciler.store import audit, people, repositories
from towline.reconciler.store.audit import Deed, DeedStore
from towline.reconciler.store.engine import Store
from towline.reconciler.store.people import Person, Role
from towline.schemas import root as roots
from towline.schemas.problems import Problem, Refused
from towline.schemas.root import Root


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """Which repository an organization's fleet is in, and which key signs for it."""

    organization: str
    repository: Path | Remote
    """The working copy or bare repository, or one elsewhere that is mirrored in the data folder."""
    path: str
    """The fleet's folder inside the repository; empty: the whole of it."""
    branch: str
    online_key: Path
    allowed_signers: Path | None = None
    """Who may sign the branch's head; None: it needs no signature."""
    passphrase: Callable[[Path], bytes] | None = None
    """Asked for the key's, where its file is encrypted."""


@dataclass(frozen=True, slots=True)
class Trust:
    """The key that signs documents, and the chain of roots that names it."""

    key: OnlineKey
    roots: tuple[bytes, ...]
    root: Root
    """The newest of them."""


def the_server(organization: str) -> Person:
    """Who acts where the server does what a person else does."""
    return Person("towline serve", organization, Role.ADMIN, "", None)


def prepare(store: Store, repository: Repository, settings: FleetSettings) -> None:
    """The organization's rows."""
    with store.write() as connection:
        place = (repository.source, settings.branch, settings.path)
        repositories.ensure(connection, settings.organization, *place, int(time.time()))


def has_admin(store: Store, organization: str) -> bool:
    """Whether anybody has an admin token of the organization."""
    with store.read() as connection:
        return bool(people.live_admins(connection, organization, int(time.time())))


def make_first_token(store: Store, organization: str, token_file: Path) -> None:
    """An admin token in a file of its own."""
    now, name = int(time.time()), "admin"
    told = {"name": name, "role": Role.ADMIN.value}
    deed = Deed(the_server(organization), "token.create", now, detail=dict(told))
    with DeedStore(store, deed).write() as connection:
        token = people.create_admin_token(
            connection, organization, name=name, role=Role.ADMIN, now=now
        )
        audit.tell(connection, on=token.split("_")[1])
        tls.write_private(token_file, f"{token}\n".encode())


def find_trust(store: Store, repository: Repository, settings: FleetSettings) -> Trust:
    """The online key and its roots; raises Problem when the newest root does not name it."""
    key = OnlineKey(settings.online_key, settings.passphrase)
    chain, root, where = _newest(store, repository, settings)
    if key.names(root):
        return Trust(key, chain, root)
    named = ", ".join(each.keyid[:12] for each in root.online.keys)
    raise _may_not_sign(
        settings, f"root {root.version} of commit {where[:12]} names {named}, it is {key.keyid()}"
    )


def _newest(
    store: Store, repository: Repository, settings: FleetSettings
) -> tuple[tuple[bytes, ...], Root, str]:
    """Of the branch's head, where its chain goes on from that in force, else of what is in force.

    A held commit counts, too: a key that its root retires may have been stolen.
    """
    with store.read() as connection:
        row = repositories.get(connection, settings.organization)
    head = _head(repository, row.applied_commit)
    found, errors = {}, []
    for commit in dict.fromkeys(filter(None, [head, row.applied_commit])):
        try:
            chain = _roots(repository, commit)
            found[commit] = chain, roots.follow(chain, settings.organization), commit
        except (Refused, Problem) as error:
            errors.append(str(error))
    if not found:
        no_commit = f"branch {settings.branch} has no commit yet"
        raise _may_not_sign(settings, errors[0] if errors else no_commit)
    former, newest = found.get(row.applied_commit), found.get(head)
    if former is None or newest is None:
        return next(iter(found.values()))
    goes_on = newest[0][: len(former[0])] == former[0] or head == row.accepted_commit
    return newest if goes_on else former


def _may_not_sign(settings: FleetSettings, why: str) -> Problem:
    return Problem(
        f"{settings.online_key} may not sign documents of {settings.organization}: {why}",
        remedy="name the key that trust/root/ names with --online-key, or as online_key of its"
        " [[repository]]; `towline trust rotate online` names another, `towline init` makes both",
    )


def _head(repository: Repository, applied: str | None) -> str | None:
    """An outage does not keep the server from serving what it applied before."""
    try:
        return repository.head()
    except Problem:
        if applied is None:
            raise
        return None


def _roots(repository: Repository, commit: str) -> tuple[bytes, ...]:
    chain = root_chain(repository.read(commit))
    if not chain:
        raise Problem(f"trust/root/1.json is missing in commit {commit[:12]}")
    return chain
