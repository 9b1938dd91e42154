"""Lengths of time and numbers of things as people say them."""

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def about(seconds: int) -> str:
    """`3 h`, `90 min`, `1 d`: rounded down to the largest unit that says it well.

    That is one which it holds twice at least, or a whole number of times.
    """
    for size, unit in _UNITS:
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            return f"{seconds // size} {unit}"
    return "0 s"


def counted(n: int, word: str) -> str:
    """`1 device`, `2 devices`, `2 batches`."""
    if n == 1:
        return f"{n} {word}"
    return f"{n} {word}{'es' if word.endswith('ch') else 's'}"
