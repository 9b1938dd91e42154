"""Rows laid straight into the store, for tests of single statements."""

from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, insert

from tests.reconciler.simulation import ORGANIZATION
from towline.reconciler.store import tables as t
from towline.schemas.states import BatchState, RunState

REVISION = "ab" * 32


def add_run(connection: Connection, deployment: str = "app", **values: Any) -> int:
    """A run in progress; returns its seq."""
    row: dict[str, Any] = {
        "id": uuid4(),
        "organization": ORGANIZATION,
        "deployment": deployment,
        "revision": REVISION,
        "turn": 0,
        "component": deployment,
        "deployment_name": deployment,
        "target_version": "1.0.0",
        "rollout_strategy": "immediate",
        "status": RunState.IN_PROGRESS.value,
        "is_return": False,
        "is_retry": False,
        "start_requested": False,
        "source_commit": "0" * 40,
        "author": "Ada",
        "created_by": uuid4(),
        "metadata": {},
        "perm_p": 2,
        "perm_step": 1,
        "perm_off": 0,
        "created_at": 0,
        "updated_at": 0,
    }
    statement = insert(t.runs).values(**row | values).returning(t.runs.c.seq)
    return int(connection.execute(statement).scalar_one())


def add_batch(connection: Connection, run_seq: int, number: int = 0, **values: Any) -> None:
    """An open batch."""
    row: dict[str, Any] = {
        "run_seq": run_seq,
        "number": number,
        "name": "canary",
        "is_last": False,
        "state": BatchState.OPEN.value,
        "size": 1,
        "success_threshold": 95,
        "soak_s": 0,
        "opened_at": 0,
    }
    connection.execute(insert(t.batches).values(**row | values))


def add_target(connection: Connection, run_seq: int, device_seq: int, **values: Any) -> None:
    """A device selected into a run of app, not granted yet."""
    row: dict[str, Any] = {
        "run_seq": run_seq,
        "device_seq": device_seq,
        "component": "app",
        "batch": 0,
        "status": "pending",
        "attempt": 1,
        "position": device_seq,
        "created_at": 0,
    }
    connection.execute(insert(t.targets).values(**row | values))
