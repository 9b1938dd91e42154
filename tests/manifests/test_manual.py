"""The manual of the manifest says what is so."""

import re
from pathlib import Path

import pytest

from tests.manifests.texts import load_texts
from towline.manifests.shape import DeploymentSpec
from towline.manifests.shape_filters import Filters

_MANUAL = (Path(__file__).parents[2] / "docs" / "manifest.md").read_text("utf-8")
_EXAMPLES = re.findall(r"```yaml\n(.*?)```", _MANUAL, re.DOTALL)


@pytest.mark.parametrize("example", _EXAMPLES)
def test_every_example_loads(example: str) -> None:
    assert load_texts(a=example).errors == ()


def test_the_manual_has_examples() -> None:
    assert len(_EXAMPLES) == 4


def test_the_example_of_everything_shows_every_working_key_and_its_default() -> None:
    smallest, everything = (load_texts(a=text).deployments["pos-agent"] for text in _EXAMPLES[:2])
    for key in ("component", "allow_downgrade", "install", "order", "success_threshold", "start"):
        assert getattr(everything, key) == getattr(smallest, key)
    for key in ("on_failure", "device_timeout_s", "max_concurrent", "offline_after_s", "batches"):
        assert getattr(everything, key) == getattr(smallest, key)


@pytest.mark.parametrize("key", [*DeploymentSpec.yaml_keys(), *Filters.yaml_keys()])
def test_every_key_is_in_the_manual(key: str) -> None:
    assert re.search(rf"\b{key}\b", _MANUAL)
