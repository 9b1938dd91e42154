"""How many examples the long-lived properties try: few with every change, many in `make soak`."""

import os

SOAK_FACTOR = 20
PARSER_FACTOR = 50


def is_soaking() -> bool:
    """True in `make soak`."""
    return bool(os.environ.get("TOWLINE_SOAK"))


def examples(few: int) -> int:
    """`few`, or twenty times as many in `make soak`."""
    return few * SOAK_FACTOR if is_soaking() else few


def parser_examples(few: int) -> int:
    """`few` of the examples that the parsers are tried with, or fifty times as many."""
    return few * PARSER_FACTOR if is_soaking() else few
