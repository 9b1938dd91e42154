"""Editing a manifest changes the words that are to change, and nothing else."""

from typing import Any

import pytest

from towline.manifests.editing import Way, edited
from towline.schemas.problems import Problem

BLOCK = """\
# The till of every shop.
apiVersion: towline/v1
kind: Deployment
metadata:
  name: till   # do not rename
  title: Till
spec:
  targetVersion: '1.0.0'  # a string
  strategy: canary
  # Only where it is tried.
  filters:
    labels:
      region: eu   # and no other

    device_type: [pi, nuc]
  package:
    url: https://a.example/till-1.0.0.tar.gz
    checksum: sha256:00
  releaseNotes: |
    First line.
    Second line.
---
kind: DeviceGroup
metadata: {name: till}
"""
FLOW = 'kind: Deployment\nmetadata: {name: till}\nspec: {targetVersion: "1", filters: {}}\n'


@pytest.mark.parametrize(
    ("text", "changes", "old", "new"),
    [
        (BLOCK, {("spec", "targetVersion"): "1.1"}, "'1.0.0'  # a", '"1.1"  # a'),
        (BLOCK, {("metadata", "title"): "Till: new"}, "title: Till", 'title: "Till: new"'),
        (BLOCK, {("metadata", "title"): "yes"}, "title: Till", 'title: "yes"'),
        (
            BLOCK,
            {("spec", "strategy"): {"type": "rolling", "batchSize": "20%"}},
            "strategy: canary",
            'strategy: {type: rolling, batchSize: "20%"}',
        ),
        (
            BLOCK,
            {("spec", "filters", "labels"): {"region": ["eu", "us"]}},
            "labels:\n      region: eu   # and no other",
            "labels: {region: [eu, us]}   # and no other",
        ),
        (BLOCK, {("spec", "filters", "device_type"): "pi"}, "[pi, nuc]", "pi"),
        (BLOCK, {("spec", "filters", "device_type"): None}, "    device_type: [pi, nuc]\n", ""),
        (
            BLOCK,
            {("spec", "filters", "status"): "online"},
            "[pi, nuc]\n",
            "[pi, nuc]\n    status: online\n",
        ),
        (
            BLOCK,
            {("spec", "releaseNotes"): "One\nTwo"},
            "|\n    First line.\n    Second line.\n",
            '"One\\nTwo"\n',
        ),
        (BLOCK, {("spec", "start"): "manual"}, "Second line.\n", "Second line.\n  start: manual\n"),
        (
            FLOW,
            {("spec", "filters", "labels"): {"a": "b"}},
            "filters: {}",
            "filters: {labels: {a: b}}",
        ),
        (FLOW, {("spec", "start"): "manual"}, "filters: {}}", "filters: {}, start: manual}"),
        (FLOW, {("spec", "filters"): None}, ", filters: {}", ""),
        (FLOW, {("spec", "targetVersion"): None}, 'targetVersion: "1", ', ""),
        (FLOW, {("metadata", "title"): "مرحبا 🚀"}, "till}", 'till, title: "مرحبا 🚀"}'),
        (
            FLOW.replace(", filters: {}", ""),
            {("spec", "filters", "labels"): {"a": "b"}},
            '"1"',
            '"1", filters: {labels: {a: b}}',
        ),
        (
            BLOCK.replace("strategy: canary", "strategy:"),
            {("spec", "strategy"): "rolling"},
            "strategy:",
            "strategy: rolling",
        ),
    ],
)
def test_only_the_words_that_change_are_another(
    text: str, changes: dict[Way, Any], old: str, new: str
) -> None:
    assert text.count(old) == 1
    assert edited(text, "till", changes, "till.yaml") == text.replace(old, new)


def test_several_changes_at_once_and_none() -> None:
    changes: dict[Way, str] = {
        ("spec", "package", "url"): "b.tar.gz",
        ("spec", "package", "checksum"): "sha256:11",
    }
    made = edited(BLOCK, "till", changes, "till.yaml")
    assert "url: b.tar.gz\n" in made
    assert 'checksum: "sha256:11"\n' in made
    assert made.count("#") == BLOCK.count("#")
    assert edited(BLOCK, "till", {}, "till.yaml") == BLOCK
    assert edited(BLOCK, "till", {("spec", "no", "such"): None}, "till.yaml") == BLOCK


def test_the_last_line_may_have_no_end() -> None:
    text = "kind: Deployment\nmetadata: {name: till}\nspec:\n  targetVersion: '1'"
    made = edited(text, "till", {("spec", "start"): "manual"}, "till.yaml")
    assert made == f"{text}\n  start: manual"


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        (BLOCK, "other", "it holds no Deployment other"),
        ("a: [", "till", "it is not YAML"),
        # The new words would be in the comment.
        (
            "kind: Deployment\nmetadata: {name: till  # x\n  }\nspec: {}\n",
            "till",
            "metadata.title cannot be changed there",
        ),
    ],
)
def test_what_cannot_be_edited_is_said(text: str, name: str, words: str) -> None:
    with pytest.raises(Problem, match=words):
        edited(text, name, {("metadata", "title"): "New"}, "till.yaml")
