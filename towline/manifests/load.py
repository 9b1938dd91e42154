"""All manifests of a commit at once: what loads, and every error of what does not.

Errors are isolated per document: one broken Deployment leaves the others alone. Pure: files come
in as bytes. What a broken Deployment means for a run is the reconciler's business.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from towline.manifests.contradictions import (
    contradictions,
    mutual_replacements,
    unknown_groups,
)
from towline.manifests.contradictions_release import release_contradictions
from towline.manifests.contradictions_rollout import rollout_contradictions
from towline.manifests.deployment import deployment_of, device_of, group_of
from towline.manifests.errors import Fault, LoadError, Mark, path_text
from towline.manifests.identity import Identity, identify, may_be_ours, may_hold_commit
from towline.manifests.model import Deployment, DeviceEntry, DeviceGroup
from towline.manifests.model_policy import Freeze, Policy
from towline.manifests.policy_values import policy_of
from towline.manifests.shape import (
    SHAPES,
    DeploymentShape,
    DeviceGroupShape,
    DeviceShape,
    FreezeShape,
    PolicyShape,
)
from towline.manifests.shape_base import Shape
from towline.manifests.shape_faults import read_shape
from towline.manifests.window_values import freeze_of
from towline.manifests.yaml_strict import Unreadable, read_documents
from towline.manifests.yaml_tree import Document, Node, fault_at, follow
from towline.schemas.problems import Place


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a commit wants."""

    deployments: dict[str, Deployment]
    groups: dict[str, DeviceGroup]
    devices: dict[str, DeviceEntry]
    freezes: dict[str, Freeze]
    policies: dict[str, Policy]
    errors: tuple[LoadError, ...]
    """In the order of files and lines."""
    unreadable: tuple[str, ...]
    """Files that are not YAML (also ones that do not look like Towline's any more, which are no
    error) or have a document whose name cannot be known: whatever came from one of them before
    keeps its last good form, unless it is in this commit under its name."""

    @property
    def broken(self) -> frozenset[str]:
        """Deployments that are there and did not load: they keep their last good form."""
        return self._broken("Deployment")

    @property
    def broken_devices(self) -> frozenset[str]:
        """Devices that are there and did not load: they keep their last good form."""
        return self._broken("Device")

    @property
    def holds_commit(self) -> bool:
        """True when nothing of this commit is to be applied."""
        return any(error.holds_commit for error in self.errors)

    def _broken(self, kind: str) -> frozenset[str]:
        # A document of no known kind could be any of them.
        return frozenset(
            error.name for error in self.errors if error.name and error.kind in (kind, None)
        )


@dataclass(slots=True)
class _Entry:
    """One document that is Towline's, on its way."""

    file: str
    root: Node
    identity: Identity
    faults: list[Fault] = field(default_factory=list)
    shape: Shape | None = None


def is_manifest_path(path: str) -> bool:
    """True for a YAML file outside of dot-folders, `releases/` and `trust/`."""
    *folders, name = path.split("/")
    is_apart = bool(folders) and folders[0] in ("releases", "trust")
    is_hidden = any(folder.startswith(".") for folder in folders)
    return name.endswith((".yaml", ".yml")) and not is_apart and not is_hidden


def load(files: Mapping[str, bytes]) -> Loaded:
    """Every manifest in `files` (path -> content); other files are passed over. Never raises."""
    entries: list[_Entry] = []
    errors: list[LoadError] = []
    unreadable: set[str] = set()
    for file in sorted(filter(is_manifest_path, files)):
        try:
            entries.extend(_entries(file, read_documents(files[file])))
        except Unreadable as refused:
            unreadable.add(file)
            if may_be_ours(files[file]):
                errors.append(_unreadable(file, refused.fault, may_hold_commit(files[file])))
    _refuse_twins(entries)
    _refuse_unknown_groups(entries, is_all_known=not any(error.holds_commit for error in errors))
    _refuse_mutual_replacements(entries)
    unreadable |= {entry.file for entry in entries if entry.identity.name is None}
    errors += [_error(entry, fault) for entry in entries for fault in entry.faults]
    return _loaded(entries, sorted(errors, key=_place_order), unreadable)


def _entries(file: str, documents: Iterable[Document]) -> Iterator[_Entry]:
    for document in documents:
        identity = identify(document.root)
        if identity is not None:
            entry = _Entry(file, document.root, identity)
            _check(entry, document.faults)
            yield entry


def _check(entry: _Entry, faults_of_yaml: list[Fault]) -> None:
    """Give the entry its shape and its faults; where YAML is wrong, the shape says no more."""
    identity = entry.identity
    entry.faults = [*faults_of_yaml, *identity.faults]
    if identity.kind is None or identity.faults:
        return
    entry.shape, found = read_shape(SHAPES[identity.kind], entry.root)
    if identity.kind == "Deployment":
        found.extend(contradictions(entry.root))
    if isinstance(entry.shape, DeploymentShape) and not found:
        found.extend(_by_meaning(entry.shape, entry.root))
    said = {fault.location for fault in faults_of_yaml}
    entry.faults += [fault for fault in found if fault.location not in said]


def _by_meaning(shape: DeploymentShape, root: Node) -> Iterator[Fault]:
    """Contradictions of a document that is right as far as its shape goes."""
    for found in (*release_contradictions(shape.spec), *rollout_contradictions(shape)):
        yield fault_at(root, *found)


def _refuse_twins(entries: list[_Entry]) -> None:
    """Two documents of one kind and name: neither counts, and each names the other's place."""
    first: dict[tuple[str, str], _Entry] = {}
    for entry in entries:
        kind, name = entry.identity.kind, entry.identity.name
        if kind is None or name is None:
            continue
        other = first.setdefault((kind, name), entry)
        if other is not entry:
            entry.faults.append(_twin(entry, other))
            other.faults.append(_twin(other, entry))


def _twin(entry: _Entry, other: _Entry) -> Fault:
    (_, at), (_, there) = (follow(e.root, ("metadata", "name")) for e in (entry, other))
    place = _place(other.file, there.mark)
    message = f"another {entry.identity.kind} has the name {entry.identity.name}: {place}"
    return Fault(("metadata", "name"), at.mark, message, "rename or remove one of the two")


def _refuse_unknown_groups(entries: list[_Entry], *, is_all_known: bool) -> None:
    """Only where all groups are known: one in an unreadable file is broken, not missing."""
    names = {e.identity.name for e in entries if e.identity.kind == "DeviceGroup"}
    if not is_all_known or None in names:
        return
    known = {name for name in names if name is not None}
    for entry in entries:
        if entry.identity.kind == "Deployment":
            entry.faults.extend(unknown_groups(entry.root, known))


def _refuse_mutual_replacements(entries: list[_Entry]) -> None:
    replaced_by: dict[str, set[str]] = {}
    for entry in entries:
        if isinstance(entry.shape, DeploymentShape):
            for old in entry.shape.metadata.replaces:
                replaced_by.setdefault(old, set()).add(entry.shape.metadata.name)
    for entry in entries:
        name = entry.identity.name
        if entry.identity.kind == "Deployment" and name in replaced_by:
            entry.faults.extend(mutual_replacements(entry.root, name, replaced_by[name]))


def _error(entry: _Entry, fault: Fault) -> LoadError:
    identity = entry.identity
    return LoadError(
        place=_place(entry.file, fault.mark),
        path=path_text(fault.location),
        message=fault.message,
        remedy=fault.remedy,
        kind=identity.kind,
        name=identity.name,
        holds_commit=identity.holds_commit,
    )


def _unreadable(file: str, fault: Fault, holds_commit: bool) -> LoadError:
    place = _place(file, fault.mark)
    return LoadError(place, "", fault.message, fault.remedy, holds_commit=holds_commit)


def _place(file: str, mark: Mark) -> Place:
    return Place(file, mark.line, mark.column)


def _place_order(error: LoadError) -> tuple[str, int, int]:
    return error.place.file, error.place.line or 0, error.place.column or 0


def _loaded(entries: list[_Entry], errors: list[LoadError], unreadable: set[str]) -> Loaded:
    loaded = Loaded({}, {}, {}, {}, {}, tuple(errors), tuple(sorted(unreadable)))
    for entry in entries:
        if not entry.faults:
            _take(loaded, entry)
    return loaded


def _take(loaded: Loaded, entry: _Entry) -> None:
    """Put the value of a good document where its kind lies."""
    match entry.shape:
        case DeploymentShape(metadata=metadata) as shape:
            loaded.deployments[metadata.name] = deployment_of(shape, entry.file)
        case DeviceGroupShape(metadata=metadata) as shape:
            loaded.groups[metadata.name] = group_of(shape, entry.file)
        case DeviceShape(metadata=metadata) as shape:
            loaded.devices[metadata.name] = device_of(shape, entry.file)
        case FreezeShape(metadata=metadata) as shape:
            loaded.freezes[metadata.name] = freeze_of(shape, entry.file)
        case PolicyShape(metadata=metadata) as shape:
            loaded.policies[metadata.name] = policy_of(shape, entry.file)
