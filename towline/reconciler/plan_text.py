"""A plan for a terminal: a block per Deployment, then what is wrong, then one line that counts."""

from collections.abc import Iterator, Mapping
from typing import Any

from towline.reconciler.plan_words import (
    MARKS,
    changed,
    count,
    length,
    shown_names,
    size,
    summary,
    title,
)


def text(document: Mapping[str, Any]) -> str:
    """The whole plan; no colour carries meaning that a mark does not."""
    lines = [f"error: {each['message']}" for each in document["errors"]]
    for deployment in changed(document):
        lines += ["", *_block(deployment)]
    if not document["summary"]["hasChanges"]:
        lines += ["", "Nothing to do: the fleet is wanted as it is."]
    return "\n".join([*lines, "", summary(document)]).strip("\n")


def _block(deployment: Mapping[str, Any]) -> Iterator[str]:
    yield f"{MARKS[deployment['change']]} {title(deployment)}"
    for key in deployment["keys"]:
        yield f"    ~ {key['key']}{_values(key)}"
    yield from _batches(deployment)
    for skip in deployment["skipped"]:
        yield f"    skipped   {count(skip['devices'], 'device')}: {skip['reason']}"
        yield from _names(skip["names"])
    for move in deployment["versions"]:
        before = move["before"] or "nothing installed"
        yield f"    versions  {before} -> {move['after']}: {count(move['devices'], 'device')}"
    yield from _costs(deployment)
    for wait in deployment["waitsFor"]:
        yield f"    waits for {wait['reason']}: {wait['message']}".rstrip(": ")
    for each in deployment["errors"]:
        yield f"    error     {each['reason']}: {each['message']}"
    for each in deployment["warnings"]:
        yield f"    warning   {each['reason']}: {each['message']}"


def _values(key: Mapping[str, Any]) -> str:
    return "" if key["after"] is None else f": {key['before']} -> {key['after']}"


def _batches(deployment: Mapping[str, Any]) -> Iterator[str]:
    rows = deployment["batches"]
    if not rows:
        return
    width = max(5, *(len(row["name"]) for row in rows))
    yield f"    {'#':>3}  {'batch':{width}}  {'devices':>9}  then"
    for row in rows:
        then = [f"{row['successThreshold']}% must pass"]
        if row["soak"] and not row["isLast"]:
            then.append(f"soak {length(row['soak'])}")
        if row["needsApproval"]:
            then.append("a person approves")
        if row["offline"]:
            then.append(f"{row['offline']:,} offline now")
        if row["wasOpen"]:
            then.append("open already")
        yield (
            f"    {row['number']:>3}  {row['name']:{width}}  {row['devices']:>9,}"
            f"  {', '.join(then)}"
        )
        yield from _names(row["names"])


def _names(names: Mapping[str, Any] | None) -> Iterator[str]:
    if words := shown_names(names):
        yield f"         {words}"


def _costs(deployment: Mapping[str, Any]) -> Iterator[str]:
    if deployment["devices"]:
        kept = f"; {deployment['kept']:,} have it lying by" if deployment["kept"] else ""
        yield f"    download  {size(deployment['bytes'])}{kept}"
    if opening := deployment["openings"]:
        yield f"    windows   the first opens {opening['first']}, the last {opening['last']}"
    for each in deployment["noWayBack"]:
        why = "a first install" if each["reason"] == "FirstInstall" else "no release is known of"
        version = f" {each['version']}" if each["version"] else ""
        yield f"    no way back for {count(each['devices'], 'device')}: {why}{version}"
    if not deployment["devices"]:
        return
    if estimate := deployment["estimate"]:
        basis = f"{length(estimate['deviceSeconds'])} each in {estimate['installs']:,} installs"
        yield f"    takes     about {length(estimate['seconds'])} ({basis} of the past)"
    else:
        yield "    takes     no past rollout to estimate from"
