"""A draft: texts as typed become the body of a call, or the changes of a manifest."""

from typing import Any

import pytest

from towline.manifests.load import load
from towline.reconciler.creating_place import BadFields
from towline.reconciler.draft import Draft, Step, draft_of, labels_of, step_of
from towline.reconciler.refusals import NotAllowed

MANIFEST = """\
apiVersion: towline/v1
kind: Deployment
metadata: {{name: till, title: Till}}
spec:
  targetVersion: "1.0.0"
  strategy: {strategy}
  start: {start}
  filters: {{device_type: [nuc, pi], labels: {{a: [b, c]}}, current_version: ">=1, !=2"}}
  package: {{{package}, checksum: "sha256:{sum}"}}
"""
PLAIN = {"strategy": "canary", "start": "automatic", "package": "url: a.tar.gz", "sum": "0c" * 32}


def draft(**changes: str) -> Draft:
    text = MANIFEST.format(**(PLAIN | changes))
    loaded = load({"till.yaml": text.encode()})
    assert not loaded.errors, loaded.errors
    return draft_of(loaded.deployments["till"])


def test_a_manifest_as_a_draft_changes_nothing() -> None:
    before = draft()
    assert before.labels == "a=b, a=c"
    assert before.device_type == "nuc, pi"
    assert before.current_version == ">=1,!=2"
    assert before.changes(before) == {}


@pytest.mark.parametrize(
    ("manifest", "typed", "changes"),
    [
        ({}, {"target_version": "2"}, {("spec", "targetVersion"): "2"}),
        ({}, {"labels": ""}, {("spec", "filters", "labels"): None}),
        ({}, {"labels": "x=1, x=2"}, {("spec", "filters", "labels"): {"x": ["1", "2"]}}),
        ({}, {"device_type": "pi"}, {("spec", "filters", "device_type"): "pi"}),
        ({}, {"current_version": "2"}, {("spec", "filters", "current_version"): "=2"}),
        ({}, {"current_version": "< 3, !=2"}, {("spec", "filters", "current_version"): "<3, !=2"}),
        (
            {},
            {"rollout_percentage": "5"},
            {("spec", "strategy"): {"type": "canary", "percentage": 5}},
        ),
        ({}, {"rollout_strategy": "immediate"}, {("spec", "strategy"): "immediate"}),
        # What no form asks stays.
        (
            {"strategy": "{type: rolling, batchSize: 10%, minDevices: 3}"},
            {"rollout_percentage": "30"},
            {("spec", "strategy"): {"type": "rolling", "batchSize": "30%", "minDevices": 3}},
        ),
        (
            {
                "strategy": "{type: batches, batches: [{name: one, size: 10%}]}",
            },
            {"release_notes": "New"},
            {("spec", "releaseNotes"): "New"},
        ),
        (
            {"start": '"2026-12-01T06:00:00Z"'},
            {"deployment_name": "Till two"},
            {("metadata", "title"): "Till two"},
        ),
    ],
)
def test_what_was_typed_otherwise_is_a_change(
    manifest: dict[str, str], typed: dict[str, str], changes: dict[Any, Any]
) -> None:
    before = draft(**manifest)
    assert before.model_copy(update=typed).changes(before) == changes


@pytest.mark.parametrize(
    "package", ["urls: [a.tar.gz, https://a.example/a.tar.gz]", "url: a.tar.gz, format: script"]
)
def test_what_a_form_cannot_show_is_edited_by_hand(package: str) -> None:
    if "urls" not in package:
        assert draft(package=package)
        return
    with pytest.raises(NotAllowed, match=r"edit till\.yaml by hand"):
        draft(package=package)


def test_every_field_of_a_body_is_asked_somewhere() -> None:
    assert step_of("checksum") is Step.PACKAGE
    assert step_of("device_filters.labels") is Step.TARGETS
    assert step_of("rollout_strategy") is Step.BASICS
    assert step_of("release") is None


def test_labels_as_typed() -> None:
    assert labels_of(" a=b ,\n c = d=e ,, a=f") == {"a": ["b", "f"], "c": "d=e"}
    with pytest.raises(BadFields, match="write KEY=VALUE"):
        labels_of("=x")


def test_what_is_missing_is_said_of_each_field() -> None:
    with pytest.raises(BadFields) as bad:
        Draft().body()
    assert {field for field, said in bad.value.faults if said == "this is needed"} == {
        *("deployment_name", "target_version", "update_package_url", "checksum")
    }
