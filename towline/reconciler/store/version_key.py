"""A text that sorts versions bytewise as semver does, for columns and display.

Numbers are two digits of length and their digits, joined by `.`; a release ends with `~`, a
pre-release with `-` and its identifiers joined by `!`. What is not semver sorts before all else.
"""

from towline.manifests.version import NotComparable, precedence


def version_key(version: str) -> str:
    """The key; build metadata does not count."""
    try:
        numbers, is_release, identifiers = precedence(version)
    except NotComparable:
        return f"!{version}"
    core = ".".join(_number(number) for number in numbers)
    if is_release:
        return f"{core}~"
    return f"{core}-{'!'.join(_identifier(*part) for part in identifiers)} "


def _number(number: int) -> str:
    digits = str(number)
    return f"{len(digits):02d}{digits}"


def _identifier(is_text: bool, number: int, text: str) -> str:
    return f"1{text}" if is_text else f"0{_number(number)}"
