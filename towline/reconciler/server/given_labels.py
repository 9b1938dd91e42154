"""Labels as people give them in a call: keys as in manifests, values in any script."""

from typing import Annotated

from pydantic import AfterValidator, Field

from towline.manifests.shape_words import LabelKey

LABELS_LIMIT = 64
VALUE_LIMIT = 63


def _checked(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise ValueError("a label's value is one line without spaces around it")
    return value


GivenLabels = Annotated[
    dict[
        LabelKey,
        Annotated[str, Field(min_length=1, max_length=VALUE_LIMIT), AfterValidator(_checked)],
    ],
    Field(max_length=LABELS_LIMIT),
]
