"""Keys that are each fine and cannot stand together, within a document and between documents.

Looks at the tree as it was read, so that it can say its part also where the shape is wrong. What
needs the meaning of keys is in `contradictions_release` and `contradictions_rollout`.
"""

from collections.abc import Collection, Iterator

from towline.manifests.errors import Fault, Location, Mark, nearest
from towline.manifests.yaml_tree import Mapping, Node, Scalar, Sequence, follow


def contradictions(root: Node) -> Iterator[Fault]:
    """What cannot stand together in one Deployment."""
    _, spec = follow(root, ("spec",))
    if not isinstance(spec, Mapping) or spec is root:
        return
    listed = spec.values.get("packages")
    if "package" in spec.values and listed is not None:
        mark = spec.keys["packages"]
        message = "`package` and `packages` both stand here"
        yield Fault(("spec", "packages"), mark, message, "keep one of the two")
    elif "package" not in spec.values and listed is None:
        remedy = "add package: {url: …, checksum: sha256:…}"
        yield Fault(("spec", "package"), spec.mark, "`package` is missing", remedy)
    elif isinstance(listed, Sequence) and not listed.items:
        remedy = "add a package, or write package: {url: …, checksum: sha256:…}"
        yield Fault(("spec", "packages"), listed.mark, "`packages` is empty", remedy)
    yield from _manual_without_devices(spec)


def _manual_without_devices(spec: Mapping) -> Iterator[Fault]:
    strategy, filters = spec.values.get("strategy"), spec.values.get("filters")
    word = strategy.values.get("type") if isinstance(strategy, Mapping) else strategy
    if not isinstance(word, Scalar) or word.text != "manual":
        return
    devices = filters.values.get("devices") if isinstance(filters, Mapping) else None
    is_named = not isinstance(devices, Sequence) or bool(devices.items)
    if devices is None or not is_named:
        message = "strategy manual takes the devices that are named, and none is"
        remedy = "add filters: {devices: [ID]}, or choose another strategy"
        yield Fault(("spec", "strategy"), word.mark, message, remedy)


def unknown_groups(root: Node, known: Collection[str]) -> Iterator[Fault]:
    """Groups that a Deployment asks for and no document has."""
    for way in _group_filters(root):
        found, node = follow(root, way)
        if found != way:
            continue
        listed = node.items if isinstance(node, Sequence) else [node]
        for at, entry in enumerate(listed):
            if isinstance(entry, Scalar) and entry.value not in known:
                location = (*way, at) if isinstance(node, Sequence) else way
                yield _unknown_group(location, entry.mark, entry.text, known)


def _group_filters(root: Node) -> Iterator[Location]:
    yield ("spec", "filters", "group")
    way: Location = ("spec", "strategy", "batches")
    found, batches = follow(root, way)
    if found == way and isinstance(batches, Sequence):
        for at in range(len(batches.items)):
            yield (*way, at, "filters", "group")


def _unknown_group(way: Location, mark: Mark, name: str, known: Collection[str]) -> Fault:
    meant = nearest(name, known)
    remedy = f"write {meant}" if meant else f"add a DeviceGroup with metadata: {{name: {name}}}"
    return Fault(way, mark, f"no DeviceGroup has the name {name}", remedy)


def mutual_replacements(root: Node, name: str, replaced_by: Collection[str]) -> Iterator[Fault]:
    """Deployments that replace the one that replaces them: neither could take a device over.

    `replaced_by` are the names of those that replace this one.
    """
    way: Location = ("metadata", "replaces")
    found, listed = follow(root, way)
    if found != way or not isinstance(listed, Sequence):
        return
    for at, entry in enumerate(listed.items):
        if isinstance(entry, Scalar) and entry.value in replaced_by and entry.value != name:
            message = f"{name} and {entry.text} replace each other"
            remedy = "remove one of the two from `replaces`"
            yield Fault((*way, at), entry.mark, message, remedy)
