"""Keys of how a release is rolled out that cannot stand together.

Looks at a spec whose shape is right. What only the inventory shows is in the plan.
"""

from collections.abc import Iterator

from towline.manifests.contradictions_release import Contradiction
from towline.manifests.deployment import checks_of
from towline.manifests.errors import Location
from towline.manifests.expand import expand
from towline.manifests.filters import ownership_of
from towline.manifests.model import Ownership
from towline.manifests.shape import DeploymentShape, DeploymentSpec
from towline.manifests.shape_rollout import BatchesShape
from towline.manifests.shape_words import duration_text
from towline.manifests.window_values import window_of
from towline.schemas.windows import DAY_S, Allow, install_need_s, longest_opening

_WEEK_MINUTES = 7 * DAY_S // 60


def rollout_contradictions(shape: DeploymentShape) -> Iterator[Contradiction]:
    """What could never go as it is written."""
    spec = shape.spec
    yield from _takes_over_itself(shape)
    yield from _too_many_named(spec)
    yield from _deadline_before_verdicts(spec)
    yield from _never_asked(spec)
    yield from _batches_of_nobody(spec)
    yield from _short_windows(spec)


def _takes_over_itself(shape: DeploymentShape) -> Iterator[Contradiction]:
    replaces = shape.metadata.replaces
    if shape.metadata.name in replaces:
        way = ("metadata", "replaces", replaces.index(shape.metadata.name))
        yield way, "a Deployment cannot replace itself", "name another one, or remove it"


def _too_many_named(spec: DeploymentSpec) -> Iterator[Contradiction]:
    named = len(set(spec.filters.devices))
    if spec.max_devices is not None and named > spec.max_devices:
        message = f"{named} devices are named in `filters`, and maxDevices is {spec.max_devices}"
        yield ("spec", "maxDevices"), message, f"write at least {named}, or name fewer devices"


def _deadline_before_verdicts(spec: DeploymentSpec) -> Iterator[Contradiction]:
    """A device may take deviceTimeout for its verdict; a run that stops before never knows."""
    if spec.progress_deadline < spec.device_timeout:
        deadline, timeout = map(duration_text, (spec.progress_deadline, spec.device_timeout))
        is_written = "progress_deadline" in spec.model_fields_set
        key = "progressDeadline" if is_written else "deviceTimeout"
        message = f"progressDeadline is {deadline}, and a device may take deviceTimeout, {timeout}"
        yield ("spec", key), message, f"write progressDeadline: {timeout} or more"


def _never_asked(spec: DeploymentSpec) -> Iterator[Contradiction]:
    """Approvals and analyses come between batches: nothing comes after the last one."""
    remedy = "remove it, or choose a strategy with more batches"
    plans = expand(spec.strategy, success_threshold=spec.success_threshold, soak_s=spec.soak)
    if spec.analysis and len(plans) == 1 and not spec.safe_mode:
        message = "analysis is asked between batches, and there is only one"
        yield ("spec", "analysis"), message, remedy
    if isinstance(spec.strategy, BatchesShape) and len(plans) == len(spec.strategy.batches):
        at = len(plans) - 1
        if spec.strategy.batches[at].approval:
            message = "no batch comes after this one, so that nobody is asked"
            yield ("spec", "strategy", "batches", at, "approval"), message, "remove it"


def _batches_of_nobody(spec: DeploymentSpec) -> Iterator[Contradiction]:
    """Batches whose filters ask for what the filters of the Deployment leave out."""
    if not isinstance(spec.strategy, BatchesShape):
        return
    whole = ownership_of(spec.filters)
    for at, batch in enumerate(spec.strategy.batches):
        key = _disjoint(ownership_of(batch.filters), whole) if batch.filters else ()
        if key:
            way: Location = ("spec", "strategy", "batches", at, "filters", *key)
            message = f"batch {batch.name} matches no device of this Deployment"
            yield way, message, "ask for what `spec.filters` lets through"


def _disjoint(part: Ownership, whole: Ownership) -> tuple[str, ...]:
    """The key of a batch's filters that no owned device can have; empty when there is none."""
    if _are_apart(part.device_types, whole.device_types):
        return ("device_type",)
    devices = set(part.devices)
    if _are_apart(part.devices, whole.devices) or (devices and devices <= set(whole.exclude)):
        return ("devices",)
    owned = dict(whole.labels)
    apart = (key for key, values in part.labels if _are_apart(values, owned.get(key, ())))
    return next((("labels", key) for key in apart), ())


def _are_apart(some: tuple[str, ...], others: tuple[str, ...]) -> bool:
    return bool(some) and bool(others) and not set(some) & set(others)


def _short_windows(spec: DeploymentSpec) -> Iterator[Contradiction]:
    """Hours in which nothing could ever start, as no opening holds an installation."""
    need = install_need_s(spec.install.timeout, (check.document() for check in checks_of(spec)))
    for at, rule in _lost_windows(spec, need):
        length = duration_text(rule.length_s)
        message = (
            f"an installation needs {duration_text(need)} (install.timeout and health), "
            f"and this window is open for {length}"
        )
        yield ("spec", "windows", at, "allow", "length"), message, "write a longer one"


def _lost_windows(spec: DeploymentSpec, need: int) -> list[tuple[int, Allow]]:
    windows = [window_of(entry) for entry in spec.windows]
    allows = {at: each.rule for at, each in enumerate(windows) if isinstance(each.rule, Allow)}
    short = [at for at, rule in allows.items() if rule.length_s < need]
    # The longest opening costs a walk through a year: it is asked only where it decides.
    if short and len(short) == len(allows) and longest_opening(windows) < need:
        return [max(allows.items(), key=lambda entry: entry[1].length_s)]
    return [(at, allows[at]) for at in short if not _is_joined(at, spec, allows)]


def _is_joined(at: int, spec: DeploymentSpec, allows: dict[int, Allow]) -> bool:
    """True for a window that touches another one, which may make it long enough.

    Windows of different zones are taken to touch.
    """
    zone = spec.windows[at].time_zone
    return any(
        spec.windows[other].time_zone != zone or _touch(allows[at], allows[other])
        for other in allows
        if other != at
    )


def _touch(one: Allow, other: Allow) -> bool:
    """True when two windows of one zone ever overlap or follow each other at once."""
    return any(
        (second - first) % _WEEK_MINUTES * 60 <= one.length_s
        or (first - second) % _WEEK_MINUTES * 60 <= other.length_s
        for first in _openings(one)
        for second in _openings(other)
    )


def _openings(rule: Allow) -> list[int]:
    """Minutes of the week at which a window opens."""
    return [day * DAY_S // 60 + rule.start_minute for day in rule.days]
