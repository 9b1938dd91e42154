"""Where a manifest of the API goes, and what it displaces: the contract's "how the calls meet git".

One of the same component and ownership takes the place of the earlier one; earlier ones that
overlap in part are replaced; one that was written by hand is in conflict. Pure over the files of
a commit: which filters share devices is told by the caller.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ruamel.yaml import YAML
from ruamel.yaml.compat import StringIO

from towline.manifests.errors import LoadError
from towline.manifests.filters import may_overlap
from towline.manifests.load import Loaded, load
from towline.manifests.model import Deployment
from towline.reconciler.creating import DeploymentBody, field_of, manifest_text
from towline.reconciler.refusals import NotAllowed
from towline.schemas.identifiers import slug_of

Files = Mapping[str, bytes]
Shares = Callable[[Deployment, Deployment], bool]
"""True when a device of the inventory is owned by both."""

_PROVISIONAL = "provisional"
_WAY = re.compile(r"[^.\[\]]+")


class BadFields(Exception):
    """The body does not make a good manifest: the fields, and what is wrong with each."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {said}" if field else said for field, said in faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Placed:
    """The manifest, and all files that its commit changes."""

    manifest: Deployment
    files: dict[str, bytes | None]
    """By path; None removes."""
    same: Deployment | None
    """The earlier one that says the same already: then nothing is to be written."""
    takes_place_of: tuple[str, ...]
    """Removed in the same commit."""


def place(
    body: DeploymentBody, files: Files, shares: Shares, avoid: frozenset[str] = frozenset()
) -> Placed:
    """Find the manifest's name and path and what it displaces.

    `avoid` are names that it must not have. Raises BadFields, or NotAllowed when another one
    stands in its way.
    """
    if body.rollout_strategy == "manual" and not body.device_filters.device_ids:
        words = "strategy manual takes the devices that are named: name at least one"
        raise BadFields([("device_filters.device_ids", words)])
    loaded = load(files)
    if loaded.holds_commit:
        raise NotAllowed("the branch's head does not load: `towline validate` says what is wrong")
    mine = _loaded_alone(body, files, loaded)
    others = [each for each in loaded.deployments.values() if each.component == mine.component]
    for other in others:
        if not other.is_api_made and (other.ownership == mine.ownership or shares(mine, other)):
            raise NotAllowed(_words_of_conflict(other))
    former = [each for each in others if each.is_api_made and each.ownership == mine.ownership]
    overlapping = sorted(
        each.name
        for each in others
        if each.is_api_made
        and each not in former
        and (shares(mine, each) or may_overlap(mine.ownership, each.ownership))
    )
    name, path = _name_and_path(body, files, loaded, former, avoid)
    text = manifest_text(body, name, overlapping)
    changes: dict[str, bytes | None] = {}
    for each in former:
        changes[_own_file(each, loaded)] = None
    for other_name in overlapping:
        changes |= _no_longer_replacing(loaded.deployments[other_name], name, files)
    changes[path] = text.encode()
    manifest = loaded_with(files, changes, loaded, name, path)
    same = next((each for each in former if each.name == name), None)
    is_same = same is not None and same.revision == manifest.revision
    return Placed(
        manifest=manifest,
        files=changes,
        same=same if is_same else None,
        takes_place_of=tuple(sorted(each.name for each in former if each.name != name)),
    )


def alone(body: DeploymentBody, files: Files) -> Deployment:
    """The manifest as far as the body makes it, for who looks before there is one.

    Raises BadFields.
    """
    return _loaded_alone(body, files, load(files))


def _loaded_alone(body: DeploymentBody, files: Files, loaded: Loaded) -> Deployment:
    """The manifest as far as the body makes it, among the groups that it may ask for."""
    path = "provisional.yaml"
    groups = {each.file for each in loaded.groups.values()}
    text = manifest_text(body, _PROVISIONAL)
    found = load({path: text.encode(), **{file: files[file] for file in groups if file != path}})
    mine = [error for error in found.errors if error.place.file == path]
    if mine:
        raise BadFields([_fault(error) for error in mine])
    return found.deployments[_PROVISIONAL]


def _fault(error: LoadError) -> tuple[str, str]:
    return field_of(_WAY.findall(error.path)), f"{error.message} ({error.remedy})"


def _words_of_conflict(other: Deployment) -> str:
    return (
        f"{other.name}, written by hand in {other.file}, owns component {other.component} of the"
        f" same devices: change that manifest, or narrow the filters"
    )


def _name_and_path(
    body: DeploymentBody,
    files: Files,
    loaded: Loaded,
    former: list[Deployment],
    avoid: frozenset[str],
) -> tuple[str, str]:
    """The title's slug; with the beginning of a digest where that is somebody else's."""
    digest = hashlib.sha256(body.model_dump_json().encode()).hexdigest()[:8]
    slug = slug_of(body.deployment_name)
    for name in (slug, f"{slug[:54].rstrip('-._')}-{digest}"):
        if name in avoid:
            continue
        for each in former:
            if each.name == name:
                return name, each.file
        path = f"deployments/{name}.yaml"
        is_taken = name in loaded.deployments or name in loaded.broken or path in files
        if not is_taken:
            return name, path
    raise NotAllowed(f"there is a Deployment {slug} already: give it another deployment_name")


def _own_file(each: Deployment, loaded: Loaded) -> str:
    """The file of the Deployment alone; raises NotAllowed where others lie in it."""
    kinds = (loaded.deployments, loaded.groups, loaded.devices, loaded.freezes, loaded.policies)
    there = [entry for kind in kinds for entry in kind.values() if entry.file == each.file]
    if len(there) > 1 or any(error.place.file == each.file for error in loaded.errors):
        raise NotAllowed(
            f"{each.name}, whose place this takes, lies in {each.file} with others: remove it there"
        )
    return each.file


def _no_longer_replacing(other: Deployment, name: str, files: Files) -> dict[str, bytes | None]:
    """Its file without `name` among what it replaces: two must not replace each other."""
    if name not in other.replaces:
        return {}
    editor = YAML(typ="rt")
    editor.preserve_quotes = True
    documents = list(editor.load_all(files[other.file].decode()))
    for document in documents:
        if document and document.get("kind") == "Deployment":
            metadata = document["metadata"]
            if metadata["name"] == other.name:
                metadata["replaces"].remove(name)
    out = StringIO()
    editor.dump_all(documents, out)
    return {other.file: out.getvalue().encode()}


def loaded_with(
    files: Files, changes: Mapping[str, bytes | None], before: Loaded, name: str, path: str
) -> Deployment:
    """The manifest as the whole head loads it; what the commit would break elsewhere is refused."""
    merged = {**files, **changes}
    after = load({file: data for file, data in merged.items() if data is not None})
    mine = [error for error in after.errors if error.place.file == path]
    if mine:
        raise BadFields([_fault(error) for error in mine])
    for error in _new(after, before):
        raise NotAllowed(f"the commit would break another manifest: {error}")
    return after.deployments[name]


def _new(after: Loaded, before: Loaded) -> Iterator[LoadError]:
    known = {(error.place.file, error.path, error.message) for error in before.errors}
    for error in after.errors:
        if (error.place.file, error.path, error.message) not in known:
            yield error
