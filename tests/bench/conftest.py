"""Tests of the bench, which sets up its own process as a server's."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """What is logged later must not go to the stream of a test that is over."""
    yield
    structlog.reset_defaults()
