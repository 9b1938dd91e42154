"""A simulation for a terminal: a block per Deployment, then what was supposed."""

from collections.abc import Iterator, Mapping
from typing import Any

from towline.reconciler.plan_words import count, length


def text(document: Mapping[str, Any]) -> str:
    """The whole simulation."""
    lines: list[str] = []
    for deployment in document["deployments"]:
        lines += ["", *_block(deployment, document["runs"])]
    if not document["deployments"]:
        lines += ["", "Nothing to do: the commit moves no Deployment."]
    return "\n".join([*lines, "", *_supposed(document)]).strip("\n")


def _block(deployment: Mapping[str, Any], runs: int) -> Iterator[str]:
    yield f"{deployment['name']} {deployment['version']}"
    if not deployment["endings"]:
        yield "    nothing to do"
        return
    for each in deployment["endings"]:
        reason = f" ({each['reason']})" if each["reason"] and each["status"] != "completed" else ""
        yield (
            f"    {each['status']}{reason} in {each['runs']} of {count(runs, 'run')}"
            f" after {_lengths(each['seconds'])}"
        )
        if reason and each["message"]:
            yield f"        {each['message']}"
    yield f"    harmed    {_counts(deployment['harmed'], 'device')}"
    yield f"    updated   {_counts(deployment['updated'], 'device')}"
    if deployment["deferred"]["max"]:
        yield f"    deferred  {_counts(deployment['deferred'], 'device')}, silent for too long"
    yield from _batches(deployment, runs)
    for each in deployment["waits"]:
        often = f" in {count(each['runs'], 'run')}" if each["runs"] < runs else ""
        yield f"    waits for {each['reason']}: {_lengths(each['seconds'])}{often}"


def _batches(deployment: Mapping[str, Any], runs: int) -> Iterator[str]:
    rows = deployment["batches"]
    if not rows:
        return
    width = max(5, *(len(row["name"]) for row in rows))
    yield f"    {'#':>3}  {'batch':{width}}  {'devices':>9}  {'failed':>8}  passed in, from - to"
    for row in rows:
        ended = length(row["endedAt"]["p50"]) if row["endedAt"] else "-"
        yield (
            f"    {row['number']:>3}  {row['name']:{width}}  {row['members']['p50']:>9,}"
            f"  {row['failed']['p50']:>8,}  {row['passed']} of {count(runs, 'run')},"
            f" {length(row['openedAt']['p50'])} - {ended}"
        )


def _lengths(spread: Mapping[str, int]) -> str:
    p50, p95 = length(spread["p50"]), length(spread["p95"])
    return p50 if p50 == p95 else f"{p50} (P95 {p95})"


def _counts(spread: Mapping[str, int], word: str) -> str:
    told = count(spread["p50"], word)
    if spread["p50"] == spread["max"]:
        return told
    return f"{told} (P95 {spread['p95']:,}, at most {spread['max']:,})"


def _supposed(document: Mapping[str, Any]) -> Iterator[str]:
    model = document["model"]
    rates = [_share(model["badRate"])]
    rates += [
        f"{_share(each['share'])} where {each['label']}={each['value']}"
        for each in model["badRates"]
    ]
    back = "" if model["offlineFor"] is None else f", back after {length(model['offlineFor'])}"
    yield (
        f"Simulated {count(document['devices'], 'device')}, {count(document['runs'], 'run')},"
        f" seed {document['seed']}, from {document['startsAt']}."
    )
    yield (
        f"Supposed: the release fails on {', '.join(rates)}; {_share(model['offline'])} more"
        f" offline{back}; download {length(model['download'])}, install"
        f" {length(model['install'])}, verify {length(model['verify'])}."
    )


def _share(share: float) -> str:
    return f"{share * 100:g}%"
