"""What an edit changes in a manifest, and that it changes nothing else."""

import re

import pytest
import yaml

from towline.cli.manifest_edit import Delivery, edited, new_manifest
from towline.schemas.problems import Problem

NEW = Delivery("hello", "2.0.0", "hello-2.0.0.tar.gz", "b" * 64)
WITH_STRATEGY = Delivery("hello", "2.0.0", "hello-2.0.0.tar.gz", "b" * 64, "rolling")

MANIFEST = f"""\
# Who asks: the shop team.
kind:   Deployment
apiVersion: towline/v1
metadata: {{ name: hello }}   # odd blanks stay
spec:
    component: hello

    targetVersion: '1.0.0'  # the version
    package:
        # from the cdn
        url: "https://cdn.example.com/hello-1.0.0.tar.gz"   # old
        checksum: sha256:{"a" * 64}
    strategy:
        type: rolling
        # twenty at a time
        batchSize: 20%

    # the rest
    health:
      - {{name: x, script: health.sh}}
# end
"""


def load(text: str) -> dict[str, object]:
    """The first Deployment's spec."""
    for document in yaml.safe_load_all(text):
        if document["kind"] == "Deployment" and document["metadata"]["name"] == "hello":
            return dict(document["spec"])
    raise AssertionError


def test_only_the_delivery_changes_byte_for_byte() -> None:
    wanted = MANIFEST.replace("'1.0.0'", '"2.0.0"').replace("a" * 64, "b" * 64)
    wanted = wanted.replace('"https://cdn.example.com/hello-1.0.0.tar.gz"', "hello-2.0.0.tar.gz")
    assert edited(MANIFEST, NEW, "f") == wanted


def test_a_strategy_of_several_lines_becomes_the_word() -> None:
    text = edited(MANIFEST, WITH_STRATEGY, "f")
    assert "    strategy: rolling\n\n    # the rest\n" in text
    assert load(text)["strategy"] == "rolling"


@pytest.mark.parametrize(
    "spec",
    [
        "{component: hello, targetVersion: '1', package: {url: x, checksum: y}}",
        "{component: hello, strategy: {type: canary}, targetVersion: '1', package:"
        " {url: x, checksum: y}}",
        "\n  component: hello\n  targetVersion: '1'\n  package: {url: x, checksum: y}",
        "\r\n  component: hello\r\n  targetVersion: '1'\r\n  package: {url: x, checksum: y}\r\n",
        "\n  component: hello\n  strategy:   canary  # c\n  targetVersion: '1'\n"
        "  package:\n    checksum: y\n    url: x",
    ],
)
def test_every_layout_is_edited(spec: str) -> None:
    text = f"# ä\nkind: Deployment\nmetadata: {{name: hello}}\nspec: {spec}"
    assert load(edited(text, WITH_STRATEGY, "f")) == {
        "component": "hello",
        "targetVersion": "2.0.0",
        "strategy": "rolling",
        "package": {"url": "hello-2.0.0.tar.gz", "checksum": "sha256:" + "b" * 64},
    }


def test_only_the_named_deployment_of_a_file_is_edited() -> None:
    other = MANIFEST.replace("name: hello", "name: other")
    text = edited(f"{other}---\n{MANIFEST}", NEW, "f")
    assert text.startswith(f"{other}---\n")
    assert load(text)["targetVersion"] == "2.0.0"


def test_editing_twice_changes_nothing_more() -> None:
    once = edited(MANIFEST, WITH_STRATEGY, "f")
    assert edited(once, WITH_STRATEGY, "f") == once


def test_a_new_manifest_is_what_an_edit_of_it_gives() -> None:
    text = new_manifest(WITH_STRATEGY)
    assert edited(text, WITH_STRATEGY, "f") == text
    assert load(text)["strategy"] == "rolling"
    assert load(new_manifest(NEW))["strategy"] == "canary"


@pytest.mark.parametrize("name", ["no", "3com", "1.0", "0x1", "null", "a", "2026-01-01"])
def test_names_that_yaml_reads_as_something_else_are_quoted(name: str) -> None:
    document = yaml.safe_load(new_manifest(Delivery(name, "1.10", f"{name}-1.tar.gz", "b" * 64)))
    assert document["metadata"]["name"] == document["spec"]["component"] == name
    assert document["spec"]["targetVersion"] == "1.10"
    assert document["spec"]["package"]["url"] == f"{name}-1.tar.gz"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MANIFEST.replace("component: hello", "component: system"), "f:6:16: .* component system"),
        (MANIFEST.replace("component: hello", ""), "delivers the component system"),
        (MANIFEST.replace("name: hello", "name: other"), "f: it holds no Deployment hello"),
        (MANIFEST.replace("kind:   Deployment", "kind: Device"), "f: it holds no Deployment"),
        (MANIFEST.replace("url:", "urls:"), "f:11:9: .*`url` is missing"),
        (MANIFEST.replace("    package:", "    packages:"), "has no `package` with `url`"),
        (MANIFEST.replace("'1.0.0'", "[1]"), "f:8:20: .*`targetVersion` is missing"),
        ("a: [", "f: it is not YAML"),
        ("", "f: it holds no Deployment"),
    ],
)
def test_what_cannot_be_edited_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(Problem) as caught:
        edited(text, NEW, "f")
    assert re.search(words, str(caught.value))
    assert caught.value.remedy
