"""The published JSON Schemas of the manifests, made from the shapes.

They lie in `towline/schemas/manifests/`; `python -m towline.manifests.json_schemas` writes them
anew. Editors read them; the loader does not.
"""

import json
from pathlib import Path
from typing import Any

from towline.manifests.shape import SHAPES
from towline.manifests.shape_words import DURATION_PATTERN, SHARE_PATTERN, duration_text

FOLDER = Path(__file__).parent.parent / "schemas" / "manifests"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DURATION = f"^{DURATION_PATTERN}$"
_SHARE = f"^{SHARE_PATTERN}$"


def json_schemas() -> dict[str, str]:
    """File name -> text, one file for each kind."""
    return {f"{kind.lower()}.json": _text(kind) for kind in SHAPES}


def write_json_schemas(folder: Path = FOLDER) -> None:
    """Write every schema into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in json_schemas().items():
        (folder / name).write_text(text, encoding="utf-8")


def _text(kind: str) -> str:
    schema = {"$schema": _DIALECT, **_as_written(SHAPES[kind].model_json_schema())}
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _as_written(node: Any) -> Any:
    """No nulls (an empty key is refused), no made-up titles, defaults as people write them."""
    if isinstance(node, list):
        return [_as_written(entry) for entry in node if entry != {"type": "null"}]
    if not isinstance(node, dict):
        return node
    schema = {key: _as_written(value) for key, value in node.items() if key != "title"}
    if isinstance(node.get("title"), dict):
        schema["title"] = _as_written(node["title"])  # the property of that name
    if schema.get("default", ...) is None or isinstance(schema.get("default"), dict):
        del schema["default"]
    if len(schema.get("anyOf", ())) == 1:
        schema |= schema.pop("anyOf")[0]
    return _with_written_default(schema)


def _with_written_default(schema: dict[str, Any]) -> dict[str, Any]:
    default, pattern = schema.get("default"), schema.get("pattern")
    if isinstance(default, int) and pattern == _DURATION:
        return {**schema, "default": duration_text(default)}
    if isinstance(default, int) and pattern == _SHARE:
        return {**schema, "default": f"{default}%"}
    return schema


if __name__ == "__main__":
    write_json_schemas()
