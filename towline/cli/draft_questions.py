"""The fields of a draft as options of a command, and as questions on a terminal."""

import sys
from collections.abc import Mapping

import typer

from towline.reconciler.draft import Draft
from towline.schemas.problems import Problem

_OPTIONS = {
    "deployment_name": ("--name", "Name, for people"),
    "target_version": ("--version", "Version"),
    "rollout_strategy": ("--strategy", "Strategy (canary, rolling, immediate, manual)"),
    "labels": ("--label", "Labels (KEY=VALUE, …; empty: any)"),
    "device_type": ("--device-type", "Device types (empty: any)"),
    "device_ids": ("--device", "Devices by id"),
    "update_package_url": ("--package", "Package (https address, or a file of /packages/)"),
    "checksum": ("--checksum", "Checksum (sha256:…)"),
    "component": ("--component", "Component"),
    "rollout_percentage": ("--percentage", "Percent of the first share or of each batch"),
    "start": ("--start", "Begins (manual, automatic)"),
    "release_notes": ("--notes", "Notes"),
    "group": ("--group", "Groups (empty: any)"),
    "current_version": ("--current-version", "Version that runs now, such as !=2.0.0"),
    "status": ("--status", "Presence (online, offline)"),
}
"""A field of the draft: its option, and how it is asked."""
_NEEDED = ("deployment_name", "target_version", "update_package_url")
_ASKED = (
    *("deployment_name", "target_version", "rollout_strategy"),
    *("labels", "device_type", "update_package_url"),
)


def said(field: str, words: str) -> str:
    """What is wrong with a field, named by its option."""
    option = _OPTIONS.get(field.removeprefix("device_filters."), ("", ""))[0]
    return f"{option}: {words}" if option else words


def asked(typed: Mapping[str, str]) -> dict[str, str]:
    """With answers to what is missing; raises Problem where nobody can be asked."""
    answers = dict(typed)
    if all(answers.get(field) for field in _NEEDED):
        return answers
    if not sys.stdin.isatty():
        missing = [_OPTIONS[field][0] for field in _NEEDED if not answers.get(field)]
        raise Problem(
            f"{', '.join(missing)} is missing, and nobody can be asked here",
            remedy="give all of it by options, or call it on a terminal",
        )
    blank = Draft()
    for field in _ASKED:
        if field not in answers:
            default = None if field in _NEEDED else getattr(blank, field)
            shown = bool(default)
            answers[field] = typer.prompt(
                _OPTIONS[field][1], default=default, show_default=shown, err=True
            )
    if answers["rollout_strategy"] == "manual" and not answers.get("device_ids"):
        answers["device_ids"] = typer.prompt(_OPTIONS["device_ids"][1], err=True)
    return answers
