"""A plan as a pull request's comment: a table first, the details folded, cut to what hosts take."""

from collections.abc import Iterator, Mapping
from typing import Any

from towline.reconciler.plan_text import text
from towline.reconciler.plan_words import MARKS, changed, count, size, summary, title

MARKER = "<!-- towline plan -->"
"""Hidden; whoever posts the comment finds the former one by it."""
CUT = "… cut: `towline plan` tells the rest."
COMMENT_LIMIT = 60_000
"""Characters; the hosts take 65,536 with what they add."""


def markdown(document: Mapping[str, Any]) -> str:
    """The comment."""
    head, base = document["head"][:12], (document["base"] or "nothing")[:12]
    lines = [MARKER, f"### {_inline(summary(document))}", ""]
    lines += [f"- :x: {_inline(each['message'])}" for each in document["errors"]]
    told = changed(document)
    if told:
        lines += ["", "| | Deployment | Devices | Batches | Download | Skipped |"]
        lines += ["|---|---|---|---|---|---|", *map(_row, told), ""]
    for deployment in told:
        lines += _notes(deployment)
    lines += ["", f"`{base}` → `{head}`, planned at {document['madeAt']}.", ""]
    comment = "\n".join(lines)
    if len(comment) > COMMENT_LIMIT:
        return f"{comment[:COMMENT_LIMIT].rpartition(chr(10))[0]}\n\n{CUT}"
    return "\n".join([comment, *_details(document, COMMENT_LIMIT - len(comment))])


def _row(deployment: Mapping[str, Any]) -> str:
    batches = " → ".join(f"{batch['devices']:,}" for batch in deployment["batches"])
    skipped = sum(skip["devices"] for skip in deployment["skipped"])
    cells = [
        f"`{MARKS[deployment['change']].strip() or '='}`",
        _inline(title(deployment)),
        f"{deployment['devices']:,}",
        batches or "-",
        size(deployment["bytes"]),
        f"{skipped:,}",
    ]
    return f"| {' | '.join(cells)} |"


def _notes(deployment: Mapping[str, Any]) -> Iterator[str]:
    for mark, key in ((":x:", "errors"), (":warning:", "warnings"), (":hand:", "waitsFor")):
        for each in deployment[key]:
            words = f"{each['reason']} {each['message']}".strip()
            yield f"- {mark} **{deployment['name']}**: {_inline(words)}"
    for each in deployment["noWayBack"]:
        yield (
            f"- :warning: **{deployment['name']}**: no way back for"
            f" {count(each['devices'], 'device')} ({each['reason']})"
        )


def _details(document: Mapping[str, Any], room: int) -> Iterator[str]:
    whole = text(document).replace("```", "'''")
    cut = whole[:room]
    yield from ("<details><summary>The whole plan</summary>", "", "```diff", cut)
    yield from ("```", "</details>")
    if len(cut) < len(whole):
        yield CUT


def _inline(words: str) -> str:
    """Text of manifests and messages stays text: it makes no cell, tag or mention."""
    one_line = " ".join(words.split())
    for character, safe in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("@", "&#64;")):
        one_line = one_line.replace(character, safe)
    return one_line
