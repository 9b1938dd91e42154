"""What every shape shares: strictness, short forms, and keys that are known but not built yet.

The shapes are what stands in YAML; the values that decisions read are in `model`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from towline.manifests.errors import Location

WRONG = "wrong"
NOT_YET = "not_yet"
NOT_TEXT = "not_text"
"""Types of the errors that are raised here, beside those of pydantic."""


class Shape(BaseModel):
    """A mapping of a manifest: no unknown keys, no value read as another type.

    The validation context is a dict in which every mapping leaves its class under its `id()`,
    so that an unknown key can be answered with the keys that its place knows.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, alias_generator=to_camel)

    @model_validator(mode="before")
    @classmethod
    def _leave_class(cls, data: Any, info: ValidationInfo) -> Any:
        if info.context is not None:
            info.context[id(data)] = cls
        return data

    @classmethod
    def yaml_keys(cls) -> tuple[str, ...]:
        """The keys as they stand in YAML."""
        return tuple(entry.alias or name for name, entry in cls.model_fields.items())


def wrong(message: str, remedy: str, at: Location = ()) -> PydanticCustomError:
    """An error with words of its own; `at` leads from the checked value to the wrong one."""
    return PydanticCustomError(WRONG, "{message}", {"message": message, "remedy": remedy, "at": at})


@dataclass(frozen=True, eq=False)
class ShortForm:
    """A value that may be written shorter; it is expanded before it is checked."""

    expand: Callable[[Any], Any]
    schema: dict[str, Any]
    """JSON Schema of the short form alone."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.expand, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [self.schema, handler(schema)]}


@dataclass(frozen=True, eq=False)
class Words:
    """A word read into a value, with the JSON Schema of the word."""

    read: Callable[[Any], Any]
    """Raises what `wrong` makes."""
    schema: dict[str, Any]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return dict(self.schema)


@dataclass(frozen=True, eq=False)
class NotYet:
    """A key that is known and not built yet: only its default is accepted, as it does nothing."""

    default: Any = None

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._check, handler(source))

    def _check(self, value: Any, inner: Callable[[Any], Any]) -> Any:
        try:
            read = inner(value)
        except ValidationError:
            read = _MISFIT
        if read != self.default:
            raise PydanticCustomError(NOT_YET, "not supported yet", {"word": ""})
        return read

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "description": "Not supported yet."}


@dataclass(frozen=True, eq=False)
class Built:
    """Of the words that a key knows, those that work."""

    words: tuple[str, ...]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, value: Any) -> Any:
        if value not in self.words:
            raise PydanticCustomError(NOT_YET, "not supported yet", {"word": value})
        return value

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        working = ", ".join(self.words)
        return {**handler(schema), "description": f"Working now: {working}."}


_MISFIT = object()
