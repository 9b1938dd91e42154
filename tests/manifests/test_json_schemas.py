"""The published JSON Schemas are those of the shapes."""

import json

from towline.manifests.json_schemas import FOLDER, json_schemas
from towline.manifests.shape import SHAPES


def test_the_published_files_are_current() -> None:
    published = {file.name: file.read_text("utf-8") for file in FOLDER.glob("*.json")}
    assert published == json_schemas(), "run `python -m towline.manifests.json_schemas`"


def test_every_kind_has_a_schema_that_allows_no_unknown_key() -> None:
    schemas = {name: json.loads(text) for name, text in json_schemas().items()}
    assert set(schemas) == {f"{kind.lower()}.json" for kind in SHAPES}
    for schema in schemas.values():
        for shape in (schema, *schema["$defs"].values()):
            assert shape["additionalProperties"] is False


def test_defaults_stand_as_people_write_them() -> None:
    spec = json.loads(json_schemas()["deployment.json"])["$defs"]["DeploymentSpec"]["properties"]
    assert spec["deviceTimeout"]["default"] == "1h"
    assert spec["soak"]["default"] == "0s"
    assert spec["successThreshold"]["default"] == "95%"
    assert spec["hooks"]["description"] == "Not supported yet."
    assert "null" not in json.dumps(spec)
