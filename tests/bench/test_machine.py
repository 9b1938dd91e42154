"""What a result is to be compared by: the machine, its versions, and what its Postgres goes by."""

import shutil

import pytest

from bench import machine
from bench.durable import DURABLE, SETTINGS, durable, gone_by


def test_facts_name_the_versions_of_what_is_measured_beside() -> None:
    """A newer one of these moves figures as much as our own code."""
    facts = machine.facts()
    assert {"postgres", "psycopg", "nginx", "sqlite", "uvicorn", "python"} <= facts.keys()
    assert (facts["nginx"] is None) == (shutil.which("nginx") is None)


def test_a_given_postgres_that_waits_for_no_disk_is_told() -> None:
    """Settings cannot be asked of a server that was there before."""
    careless = dict.fromkeys(SETTINGS, "?") | {
        "fsync": "off",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "server_version": "15.18",
    }
    found = gone_by(careless.__getitem__, SETTINGS)
    assert found.problem is not None and "fsync is off" in found.problem
    assert "synchronous_commit" not in found.problem
    assert found.words.startswith("Postgres 15.18: fsync off (not on), synchronous_commit on,")


def test_a_postgres_that_is_started_for_the_bench_is_durable() -> None:
    """What was asked of it is read back."""
    with durable() as databases:
        if databases is None:
            pytest.skip("no Postgres")
        found = gone_by(databases.setting, SETTINGS)
    assert found.problem is None
    assert "(not" not in found.words
    assert all(f"{name} {value}" in found.words for name, value in DURABLE.items())
