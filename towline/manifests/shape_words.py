"""The single words of a manifest: names, durations, shares, versions, checksums, addresses.

Each is read from text into the value that the model holds, and each refusal says what to write.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field
from pydantic_core import PydanticCustomError

from towline.manifests.shape_base import NOT_TEXT, ShortForm, Words, wrong
from towline.manifests.version import Range
from towline.manifests.yaml_tree import Plain, shortened
from towline.schemas.identifiers import ID_GRAMMAR
from towline.schemas.keys import PublicKey
from towline.schemas.problems import Refused

DURATION_PATTERN = r"(0|[1-9][0-9]{0,5})[smhd]"
SHARE_PATTERN = r"([1-9][0-9]?|100)%"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,99}")
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
_PATH_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+~@=-]*")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|[0-9a-f]*:[0-9a-f]*:[0-9a-f:.]*")
_MAX_ADDRESS = 2048
MAX_COUNT = 10_000_000
"""Devices that a number may speak of."""


def duration_text(seconds: int) -> str:
    """The shortest way to write a duration: 5400 -> 90m."""
    unit = next(unit for unit in "dhms" if seconds % _SECONDS[unit] == 0 or unit == "s")
    return f"{seconds // _SECONDS[unit]}{unit}" if seconds else "0s"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _seconds(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(DURATION_PATTERN, value):
        return int(value[:-1]) * _SECONDS[value[-1]]
    remedy = f"write {value}s" if _is_whole(value) else "write a whole number and s, m, h or d: 10m"
    raise wrong(f"{said(value)} is no duration", remedy)


def seconds_above_zero(value: Any) -> int:
    """A duration in whole seconds, 0 refused."""
    seconds = _seconds(value)
    if seconds == 0:
        raise wrong("a time of zero could never be kept", "write at least 1s")
    return seconds


def _percent(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(SHARE_PATTERN, value):
        return int(value[:-1])
    is_bare = _is_whole(value) and 1 <= value <= 100
    remedy = f"write {value}%" if is_bare else "write whole percents from 1% to 100%"
    raise wrong(f"{said(value)} is no share", remedy)


def _count_or_share(value: Any) -> tuple[int, bool]:
    """A number of devices, or a share of them in percent and True."""
    if _is_whole(value) and 1 <= value <= MAX_COUNT:
        return value, False
    if isinstance(value, str) and re.fullmatch(SHARE_PATTERN, value):
        return int(value[:-1]), True
    remedy = "write a whole number of at least 1, or whole percents from 1% to 100%"
    raise wrong(f"{said(value)} is neither a number of devices nor a share", remedy)


def said(value: Any) -> str:
    """A value as it stood in YAML, for a message."""
    if isinstance(value, Plain):
        return value.text
    if isinstance(value, str):
        return f'"{shortened(value)}"'
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    return str(value).lower() if isinstance(value, bool) else str(value)


def text_of(value: Any, what: str) -> str:
    """Text only: a number, date or truth value is answered with its quoted form."""
    if isinstance(value, str):
        return value
    raise PydanticCustomError(NOT_TEXT, "not text", {"what": what})


def _matching(pattern: str, what: str, remedy: str) -> Callable[[Any], str]:
    compiled = re.compile(pattern)

    def read(value: Any) -> str:
        text = text_of(value, what)
        if compiled.fullmatch(text) is None:
            raise wrong(f"{said(text)} is no {what.split(' ', 1)[-1]}", remedy)
        return text

    return read


def _pattern(pattern: str, what: str, remedy: str) -> Words:
    schema = {"type": "string", "pattern": f"^(?:{pattern})$"}
    return Words(_matching(pattern, what, remedy), schema)


def _limited(limit: int, *, lines: bool) -> Words:
    def read(value: Any) -> str:
        text = text_of(value, "text")
        if not text or len(text) > limit:
            raise wrong(f"{len(text)} characters stand here", f"write 1 to {limit} characters")
        allowed = "\n\t" if lines else ""
        if any(ord(char) < 32 and char not in allowed for char in text):
            raise wrong("control characters stand here", "remove them")
        return text

    return Words(read, {"type": "string", "minLength": 1, "maxLength": limit})


def _range(value: Any) -> str:
    text = text_of(value, "a range of versions")
    try:
        return str(Range.parse(text))
    except ValueError as error:
        remedy = 'write comparisons with = != < <= > >= and a version: ">=2.0, !=2.4.1"'
        raise wrong(str(error), remedy) from None


def _version(value: Any) -> str:
    text = text_of(value, "a version")
    if _VERSION.fullmatch(text) is None:
        remedy = "write up to 100 letters, digits and . _ + ~ -, a letter or digit first"
        raise wrong(f"{said(text)} is no version", remedy)
    return text


def _checksum(value: Any) -> str:
    text = text_of(value, "a checksum")
    if re.fullmatch(r"sha256:[0-9a-fA-F]{64}", text) is None:
        remedy = "write sha256: and the 64 hex digits that `sha256sum FILE` prints"
        raise wrong(f"{said(text)} is no checksum", remedy)
    return text.removeprefix("sha256:").lower()


def is_relative_path(text: str) -> bool:
    """True for a path of plain names that stays below where it starts."""
    return len(text) <= 255 and all(_PATH_PART.fullmatch(part) for part in text.split("/"))


def is_host(text: str) -> bool:
    """True for a host's name or address in small letters, without port and brackets."""
    return _HOST.fullmatch(text) is not None


def _address(value: Any) -> str:
    text = text_of(value, "the address of a package")
    has_scheme = _SCHEME.match(text) is not None
    if has_scheme and not _is_https(text):
        remedy = "write https://HOST/PATH/FILE, or a path below the server's /packages/"
        raise wrong(f"{said(text)} is no https address of a file", remedy)
    if not has_scheme and not is_relative_path(text):
        remedy = "write a path below the server's /packages/, such as pos-agent-2.4.1.tar.gz"
        raise wrong(f"{said(text)} is no path of a package", remedy)
    return text


def _is_https(text: str) -> bool:
    try:
        parts = urlsplit(text)
        is_port_fine = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return (
        parts.scheme == "https"
        and bool(parts.hostname)
        and is_port_fine
        and "@" not in parts.netloc
        and not parts.fragment
        and len(text) <= _MAX_ADDRESS
        and all("!" <= char <= "~" and char != "\\" for char in text)
        and is_relative_path(parts.path.rsplit("/", 1)[-1].replace("%", "_"))
    )


def _inner_path(value: Any) -> str:
    text = text_of(value, "a file inside the package")
    if not is_relative_path(text):
        remedy = "write a path inside the package without a leading slash or ..: health/pos.sh"
        raise wrong(f"{said(text)} is no file inside the package", remedy)
    return text


def _moment(value: Any) -> int:
    """A time with its zone, as seconds since the epoch."""
    text = time_text(value, "a time")
    remedy = "write a time with its zone: 2026-12-01T06:00:00Z"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise wrong(f"{said(value)} is no time", remedy) from None
    if moment.tzinfo is None:
        raise wrong(f"{said(value)} has no time zone", remedy)
    return int(moment.timestamp())


def _start(value: Any) -> str | int:
    return value if value in ("automatic", "manual") else _moment(value)


def time_text(value: Any, what: str) -> str:
    """The text of a time or date. Times may stand without quotes: YAML has a notion of them."""
    is_time = isinstance(value, Plain) and value.kind == "timestamp"
    return text_of(value.text if is_time else value, what)


def _public_key(value: Any) -> str:
    text = text_of(value, "a public key")
    try:
        if not text.startswith("ed25519:"):
            raise Refused("key")
        return PublicKey.from_text(text).text()
    except Refused:
        remedy = "write ed25519: and 64 hex digits, as `towline-agent status` prints it"
        raise wrong(f"{said(text)} is no public key", remedy) from None


def _one_as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


DURATION: dict[str, Any] = {"type": "string", "pattern": f"^{DURATION_PATTERN}$"}
"""JSON Schema of a duration."""
Duration = Annotated[int, Words(_seconds, DURATION)]
"""Whole seconds, 0 allowed."""
Timeout = Annotated[int, Words(seconds_above_zero, DURATION)]
"""Whole seconds, at least 1."""
Share = Annotated[int, Words(_percent, {"type": "string", "pattern": f"^{SHARE_PATTERN}$"})]
"""Whole percent, 1 to 100."""
Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
CountOrShare = Annotated[
    tuple[int, bool],
    Words(
        _count_or_share,
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MAX_COUNT},
                {"type": "string", "pattern": f"^{SHARE_PATTERN}$"},
            ]
        },
    ),
]
"""An amount, and whether it is whole percent."""
Percent = Annotated[int, Field(ge=1, le=100)]
Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[
    str,
    _pattern(ID_GRAMMAR, "a name", "write 1 to 63 of a-z, 0-9, . _ -, a letter or digit first"),
]
DeviceTypeName = Annotated[
    str,
    _pattern(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}",
        "a device type",
        "write 1 to 63 letters, digits, . _ -, a letter or digit first",
    ),
]
LabelKey = Annotated[
    str,
    _pattern(
        r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}",
        "a label's key",
        "write 1 to 63 letters, digits, . _ / -, a letter or digit first",
    ),
]
HttpPath = Annotated[
    str, _pattern(r"/[!-~]{0,1023}", "a path", "write the path with its leading slash: /healthz")
]
LabelValue = Annotated[str, _limited(255, lines=False)]
Line = Annotated[str, _limited(255, lines=False)]
Prose = Annotated[str, _limited(10_000, lines=True)]
Version = Annotated[str, Words(_version, {"type": "string", "pattern": f"^{_VERSION.pattern}$"})]
VersionRange = Annotated[str, Words(_range, {"type": "string"})]
Checksum = Annotated[
    str, Words(_checksum, {"type": "string", "pattern": "^sha256:[0-9a-fA-F]{64}$"})
]
Address = Annotated[str, Words(_address, {"type": "string"})]
InnerPath = Annotated[str, Words(_inner_path, {"type": "string"})]
Moment = Annotated[int, Words(_moment, {"type": "string", "format": "date-time"})]
StartWord = Annotated[str | int, Words(_start, {"type": "string"})]
PublicKeyText = Annotated[
    str, Words(_public_key, {"type": "string", "pattern": "^ed25519:[0-9a-fA-F]{64}$"})
]
OneOrMore = ShortForm(_one_as_list, {"type": "string"})
"""For a list of which one entry may stand alone."""
