"""What the bench's commands take: sizes that can be measured."""

import argparse


def whole(text: str) -> int:
    """A number from 1 on."""
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def duration(text: str) -> float:
    """Seconds, more than none and less than a day."""
    try:
        found = float(text)
    except ValueError:
        found = 0
    if not 0 < found < 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return found
