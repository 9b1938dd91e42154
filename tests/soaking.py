"""How many examples the long-lived properties try: few with every change, many in `make soak`."""

import os

SOAK_FACTOR = 20


def examples(few: int) -> int:
    """`few`, or twenty times as many where TOWLINE_SOAK is set."""
    return few * SOAK_FACTOR if os.environ.get("TOWLINE_SOAK") else few
