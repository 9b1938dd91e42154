"""Which keys of a manifest differ, in the words of the manifest. Pure.

Values that fit on a line are shown as they are written; of the others only the key is named.
"""

from collections.abc import Iterator
from dataclasses import fields
from enum import Enum
from typing import Any

from towline.manifests.model import BatchPlan, Deployment, SizeKind, Start
from towline.manifests.shape_words import duration_text
from towline.reconciler.plan import KeyChange

_NOT_WRITTEN = frozenset({"name", "file", "revision", "canonical", "rollout_percentage"})
"""Made from other keys, or where the manifest stands."""
_KEYS = {
    "packages": "package",
    "batches": "strategy",
    "title": "metadata.title",
    "labels": "metadata.labels",
    "replaces": "metadata.replaces",
    "ownership": "filters",
    "eligibility": "filters",
    "offline_after_s": "offline.after",
    "rolls_back": "rollback.automatic",
    "budget": "disruptionBudget",
    "arms": "experiment",
}
_PERCENT = frozenset({"success_threshold"})


def key_changes(before: Deployment, after: Deployment) -> tuple[KeyChange, ...]:
    """Every key that differs, each once."""
    found: dict[str, KeyChange] = {}
    for name in _differing(before, after):
        key = _KEYS.get(name) or _camel(name.removesuffix("_s"))
        if key == "strategy":
            found[key] = KeyChange(key, strategy_text(before), strategy_text(after))
            continue
        texts = (_text(name, getattr(before, name)), _text(name, getattr(after, name)))
        shown = texts if None not in texts and key not in found else (None, None)
        found[key] = KeyChange(key, *shown)
    return tuple(found.values())


def strategy_text(manifest: Deployment) -> str:
    """`canary: 10%, rest`."""
    return f"{manifest.strategy}: {', '.join(_size(plan) for plan in manifest.batches)}"


def _size(plan: BatchPlan) -> str:
    match plan.size:
        case SizeKind.SHARE:
            size = f"{plan.amount}%"
        case SizeKind.COUNT:
            size = str(plan.amount)
        case SizeKind.REST:
            size = "the rest"
    of = f" of {plan.name}" if plan.ownership is not None else ""
    soak = f", soak {duration_text(plan.soak_s)}" if plan.soak_s else ""
    return f"{size}{of}{soak}"


def _differing(before: Deployment, after: Deployment) -> Iterator[str]:
    for field in fields(Deployment):
        name = field.name
        if name not in _NOT_WRITTEN and getattr(before, name) != getattr(after, name):
            yield name


def _text(name: str, value: Any) -> str | None:
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case Enum():
            return str(value.value)
        case Start():
            return str(value.mode) if value.at is None else None
        case int() if name.endswith("_s"):
            return duration_text(value)
        case int() if name in _PERCENT:
            return f"{value}%"
        case int():
            return str(value)
        case str() if len(value) <= 60 and value.isprintable():
            return value or "empty"
    return None


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
