"""A run over time as SVG: devices that completed above, those that failed below, each to its scale.

Pure. Colours come from the style sheet, so that the chart follows light and dark by itself; what it
shows is said in its title and description, and stands in a table beside it.
"""

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from towline.reconciler.lengths import counted
from towline.reconciler.store.reading_pace import Moment
from towline.schemas import times

WIDTH, LEFT, RIGHT = 720, 56, 70
_TOP, _HEIGHT = 12, 120
_TOP_FAILED, _HEIGHT_FAILED = 158, 44
_ROWS = 12
"""Of the table: more would only repeat what the lines show."""


def chart(moments: Sequence[Moment], total: int) -> Markup:
    """The picture; of less than two moments there is none."""
    if len(moments) < 2:
        return Markup("")
    last = moments[-1]
    most_failed = max(1, last.failed)
    parts = [
        *_frame(_TOP, _HEIGHT, total),
        _area("completed", moments, [each.completed for each in moments], total, _TOP, _HEIGHT),
        _label("completed", f"✓ {last.completed}", last.completed, total, _TOP, _HEIGHT),
        *_frame(_TOP_FAILED, _HEIGHT_FAILED, most_failed),
        _area(
            "failed",
            moments,
            [each.failed for each in moments],
            most_failed,
            _TOP_FAILED,
            _HEIGHT_FAILED,
        ),
        _label("failed", f"✗ {last.failed}", last.failed, most_failed, _TOP_FAILED, _HEIGHT_FAILED),
        *_hours(moments),
    ]
    return Markup(
        '<svg class="chart" viewBox="0 0 {width} 226" role="img"'
        ' aria-labelledby="chart-title chart-desc">'
        '<title id="chart-title">Completed and failed devices over time</title>'
        '<desc id="chart-desc">{words}</desc>{parts}</svg>'
    ).format(width=WIDTH, words=in_words(moments, total), parts=Markup("").join(parts))


def in_words(moments: Sequence[Moment], total: int) -> str:
    """What the chart shows in one sentence."""
    first, last = moments[0], moments[-1]
    return (
        f"From {_hour(first.at)} to {_hour(last.at)} {last.completed} of"
        f" {counted(total, 'device')} completed and {last.failed} failed."
    )


def rows(moments: Sequence[Moment]) -> list[Moment]:
    """Some of the moments, evenly chosen, the first and the last among them: the table."""
    if len(moments) <= _ROWS:
        return list(moments)
    last = len(moments) - 1
    return [moments[round(step * last / (_ROWS - 1))] for step in range(_ROWS)]


def _frame(top: int, height: int, most: int) -> Iterator[Markup]:
    """The lines of nothing and of all, each with its figure."""
    for at, figure in ((top, most), (top + height, 0)):
        yield Markup('<line class="axis" x1="{}" x2="{}" y1="{y}" y2="{y}"/>').format(
            LEFT, WIDTH - RIGHT, y=at
        )
        yield Markup('<text class="figure" x="{}" y="{}" text-anchor="end">{}</text>').format(
            LEFT - 8, at + 4, figure
        )


def _area(
    name: str, moments: Sequence[Moment], values: Sequence[int], most: int, top: int, height: int
) -> Markup:
    """A line with the area below it filled."""
    line = " ".join(
        f"{_x(moments, each.at):.1f},{_y(value, most, top, height):.1f}"
        for each, value in zip(moments, values, strict=True)
    )
    bottom = top + height
    return Markup(
        '<polygon class="area {name}" points="{left},{bottom} {line} {right},{bottom}"/>'
        '<polyline class="line {name}" points="{line}"/>'
    ).format(name=name, line=line, left=LEFT, right=WIDTH - RIGHT, bottom=bottom)


def _label(name: str, words: str, value: int, most: int, top: int, height: int) -> Markup:
    """At the end of its line."""
    y = _y(value, most, top, height) + 4
    return Markup('<text class="label {}" x="{}" y="{:.1f}">{}</text>').format(
        name, WIDTH - RIGHT + 6, y, words
    )


def _hours(moments: Sequence[Moment]) -> Iterator[Markup]:
    y = _TOP_FAILED + _HEIGHT_FAILED + 18
    ends = ((LEFT, "start", moments[0]), (WIDTH - RIGHT, "end", moments[-1]))
    for x, anchor, moment in ends:
        yield Markup('<text class="figure" x="{}" y="{}" text-anchor="{}">{}</text>').format(
            x, y, anchor, _hour(moment.at)
        )


def _x(moments: Sequence[Moment], at: int) -> float:
    start, end = moments[0].at, moments[-1].at
    return LEFT + (WIDTH - RIGHT - LEFT) * (at - start) / max(1, end - start)


def _y(value: int, most: int, top: int, height: int) -> float:
    return top + height * (1 - min(value, most) / max(1, most))


def _hour(at: int) -> str:
    return times.to_rfc3339(at).replace("T", " ").removesuffix("Z") + " UTC"
