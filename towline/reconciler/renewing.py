"""Statements that a commit signs anew, put into the offers of the runs that carry the former ones.

A run keeps what it offers, and so its documents would carry the word of a release key that the
newest root does not name any more: devices would refuse all of it. Only the word is replaced, for
the very same package.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from towline.reconciler.head import Head
from towline.reconciler.offer import Offer, OfferedRelease
from towline.reconciler.store import runs
from towline.schemas import envelope, statement
from towline.schemas.problems import Refused
from towline.schemas.statement import Statement


@dataclass(frozen=True, slots=True)
class _Renewed:
    word: Statement
    sealed: dict[str, Any]


_Key = tuple[str, str, str]
"""Component, version and checksum."""


def renew(connection: Connection, former: Head | None, head: Head) -> bool:
    """Take up what `head` signs otherwise than `former`; True when documents have changed."""
    renewed = _renewed(former, head)
    if not renewed:
        return False
    has_changed = False
    for run in runs.with_offers(connection, head.organization):
        offer = Offer.parse(run.offer, run.target_version)
        releases = tuple(_taken_up(run.component, each, renewed) for each in offer.releases)
        if releases != offer.releases:
            document = replace(offer, releases=releases).document()
            runs.set_on_run(connection, run.seq, offer=document)
            has_changed = True
    return has_changed


def _renewed(former: Head | None, head: Head) -> dict[_Key, _Renewed]:
    """What lay under its path before, with other bytes; all of it when nobody knows what lay."""
    known = former.statements if former else {}
    found = {}
    for path, data in head.statements.items():
        if former is not None and known.get(path, data) == data:
            continue
        try:
            sealed = envelope.parse(data)
            word = statement.verify(sealed, head.root.release)
        except Refused:
            continue
        if word.organization == head.organization:
            key = (word.component, word.version, word.sha256)
            found[key] = _Renewed(word, sealed.document())
    return found


def _taken_up(
    component: str, release: OfferedRelease, renewed: Mapping[_Key, _Renewed]
) -> OfferedRelease:
    found = renewed.get((component, release.version, release.sha256))
    if found is None or found.word.size != release.size:
        return release
    return replace(
        release,
        statement=found.sealed,
        rollback_index=found.word.rollback_index,
        signed_types=found.word.device_types,
    )
