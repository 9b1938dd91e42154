"""The manual of the manifest says what is so."""

import re
from pathlib import Path

import pytest

from tests.manifests.texts import load_texts
from towline.manifests.model_policy import Policy
from towline.manifests.shape import DeploymentSpec
from towline.manifests.shape_filters import Filters
from towline.manifests.shape_policy import FreezeSpec, PolicySpec
from towline.manifests.shape_release import PackageShape

_MANUAL = (Path(__file__).parents[2] / "docs" / "manifest.md").read_text("utf-8")
_EXAMPLES = re.findall(r"```yaml\n(.*?)```", _MANUAL, re.DOTALL)


@pytest.mark.parametrize("example", _EXAMPLES)
def test_every_example_loads(example: str) -> None:
    assert load_texts(a=example).errors == ()


def test_the_manual_has_examples() -> None:
    assert len(_EXAMPLES) == 6


def test_the_example_of_everything_shows_every_working_key_and_its_default() -> None:
    smallest, everything = (load_texts(a=text).deployments["pos-agent"] for text in _EXAMPLES[:2])
    for key in ("component", "allow_downgrade", "install", "order", "success_threshold", "start"):
        assert getattr(everything, key) == getattr(smallest, key)
    for key in ("on_failure", "device_timeout_s", "max_concurrent", "offline_after_s", "batches"):
        assert getattr(everything, key) == getattr(smallest, key)
    for key in ("rolls_back", "safe_mode", "progress_deadline_s", "self_heal"):
        assert getattr(everything, key) == getattr(smallest, key)


_KEYS = [
    key
    for shape in (DeploymentSpec, Filters, PackageShape, FreezeSpec, PolicySpec)
    for key in shape.yaml_keys()
]


@pytest.mark.parametrize("key", _KEYS)
def test_every_key_is_in_the_manual(key: str) -> None:
    assert re.search(rf"\b{key}\b", _MANUAL)


def test_the_defaults_of_a_policy_stand_in_the_manual() -> None:
    (example,) = (text for text in _EXAMPLES if "kind: Policy" in text)
    written = load_texts(a=example).policies["fleet"]
    for key in (
        "max_removed",
        "stale_plan",
        "api_commits",
        "stale_git_alert_s",
        "stale_git_hold_s",
    ):
        assert getattr(written, key) == getattr(Policy(), key)
