"""Lengths of time as people say them: the largest unit that tells enough."""

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def about(seconds: int) -> str:
    """`3 h`, `2 d`, `40 s`: rounded down to one unit; below twice a unit the smaller one."""
    for size, unit in _UNITS:
        if seconds >= 2 * size or (seconds >= size and unit == "s"):
            return f"{seconds // size} {unit}"
    return "0 s"
