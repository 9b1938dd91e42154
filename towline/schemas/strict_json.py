"""JSON read strictly and written canonically.

Duplicate keys, NaN, Infinity, numbers beyond a double and nesting that would exhaust the stack are
refused: two readers must never see two meanings in the same signed bytes.
"""

import json
from json.encoder import encode_basestring
from typing import Any

from towline.schemas.problems import Refused


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refused("duplicate-key")
    return found


def _no_constant(name: str) -> Any:
    raise Refused("nan", name)


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise Refused("nan", text)
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_finite
)


def parse(data: bytes) -> Any:
    """Parse UTF-8 JSON; raises Refused `not-json`, `duplicate-key` or `nan`."""
    try:
        found = _DECODER.decode(data.decode("utf-8"))
        if b"\\u" in data:
            # Half of a surrogate pair is no text: it could be kept and then never be written again.
            json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Refused("not-json", "a lone surrogate") from None
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise Refused("not-json", str(error)[:120]) from None
    return found


def parse_object(data: bytes) -> dict[str, Any]:
    """Parse UTF-8 JSON that must be an object; raises as `parse`."""
    found = parse(data)
    if not isinstance(found, dict):
        raise Refused("not-json", "an object is expected")
    return found


def canonical(value: Any) -> bytes:
    """Compact UTF-8 with sorted keys: the same bytes for the same value, for digests."""
    return _CANONICAL.encode(value).encode()


def text(value: str) -> str:
    """A text as `canonical` writes it, for who writes many small objects by hand."""
    return encode_basestring(value)


_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)
