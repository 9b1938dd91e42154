"""How many examples the long-lived properties try: few with every change, many in `make soak`."""

import os

SOAK_FACTOR = 20


def is_soaking() -> bool:
    """True in `make soak`."""
    return bool(os.environ.get("TOWLINE_SOAK"))


def examples(few: int) -> int:
    """`few`, or twenty times as many in `make soak`."""
    return few * SOAK_FACTOR if is_soaking() else few
