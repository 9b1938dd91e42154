"""`towline plan` as a person and a pipeline use it: words, exit codes, outputs, sources."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import insert

from tests.cli.conftest import git
from towline.cli import main
from towline.cli.plan_commits import files_at
from towline.cli.plan_markdown import COMMENT_LIMIT, CUT, MARKER, markdown
from towline.cli.plan_sources import _needed
from towline.cli.settings import load
from towline.reconciler.plan_text import text
from towline.reconciler.store import repositories
from towline.reconciler.store import tables as t
from towline.reconciler.store.device_lists import FleetFilter
from towline.reconciler.store.device_parts import devices_part
from towline.reconciler.store.engine import open_store
from towline.reconciler.store.labels import intern_labels
from towline.schemas.identifiers import device_uuid


@pytest.fixture
def published(fleet: Path, hello: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fleet repository with the Deployment hello 1.0.0, and the current folder."""
    monkeypatch.chdir(fleet)
    assert main.run(["publish", str(hello), "--version", "1.0.0"]) == 0
    return fleet


@pytest.fixture
def store(published: Path, tmp_path: Path) -> Path:
    """The store of a server with 20 devices that has applied nothing yet."""
    path = tmp_path / "server" / "towline.db"
    opened = open_store(path)
    now = int(time.time())
    with opened.write() as connection:
        repositories.ensure(connection, "acme", "fleet", "main", "", now)
        labels = intern_labels(connection, {})
        for seq in range(1, 21):
            name = f"pi-{seq:04}"
            connection.execute(
                insert(t.edge_devices).values(
                    seq=seq,
                    id=device_uuid("acme", name),
                    slug=name,
                    organization="acme",
                    device_type="generic",
                    label_set_id=labels,
                    labels_git={},
                    labels_people={},
                    labels_join={},
                    state="active",
                    created_at=now,
                )
            )
            connection.execute(
                insert(t.device_state).values(device_seq=seq, last_seen=now, facts={})
            )
    opened.close()
    return path


def export(store: Path, file: Path) -> None:
    opened = open_store(store)
    with opened.read() as connection:
        items, *_ = devices_part(connection, "acme", FleetFilter(), 100, 0)
    opened.close()
    file.write_bytes(orjson.dumps({"kind": "DeviceList", "items": items}))


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main.run(["plan", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def document(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    _, out, _ = run(capsys, *words, "-o", "json")
    found: dict[str, Any] = json.loads(out)
    return found


def test_a_plan_over_a_store_ends_with_one_line_that_counts(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "--store", str(store))
    assert code == 0
    assert "+ hello 1.0.0: new" in out
    assert out.splitlines()[-1].startswith("Plan: 1 to add, 0 to change, 0 to remove; 20 devices, ")


def test_the_exit_code_tells_changes_only_when_asked(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "--store", str(store))[0] == 0
    assert run(capsys, "--store", str(store), "--detailed-exitcode")[0] == 2
    assert run(capsys, "HEAD", "HEAD", "--store", str(store), "--detailed-exitcode")[0] == 0


def test_an_inventory_file_gives_the_same_batches_as_the_store(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(store, tmp_path / "inventory.json")
    from_file = document(capsys, "--inventory", str(tmp_path / "inventory.json"), "--names")
    from_store = document(capsys, "--store", str(store), "--names")
    assert from_file["deployments"][0]["batches"] == from_store["deployments"][0]["batches"]
    assert from_file["source"] == "inventory"


def test_two_commits_of_an_inventory_tell_what_the_second_changes(
    store: Path, published: Path, hello: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(store, tmp_path / "inventory.json")
    assert main.run(["publish", str(hello), "--version", "1.1.0"]) == 0
    told = document(capsys, "HEAD~1", "HEAD", "--inventory", str(tmp_path / "inventory.json"))
    (only,) = told["deployments"]
    assert (only["change"], only["versionBefore"], only["versionAfter"]) == (
        "change",
        "1.0.0",
        "1.1.0",
    )
    assert told["base"] == git(published, "rev-parse", "HEAD~1")


def test_names_after_the_commits_narrow_it(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert document(capsys, "hello", "--store", str(store))["deployments"][0]["name"] == "hello"
    code, _, err = run(capsys, "hallo", "--store", str(store))
    assert code == 1
    assert "there is no Deployment and no commit hallo" in err


def test_what_is_not_committed_is_planned_on_demand(
    store: Path, published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (manifest,) = (published / "deployments").glob("hello*")
    manifest.unlink()
    assert document(capsys, "--store", str(store))["summary"]["add"] == 1
    told = document(capsys, "--store", str(store), "--worktree")
    assert (told["head"], told["summary"]["add"]) == ("worktree", 0)


def test_a_missing_statement_is_an_error_with_the_line_that_signs(
    store: Path, published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for statement in (published / "releases").rglob("*.json"):
        statement.unlink()
    code, out, _ = run(capsys, "--store", str(store), "--worktree", "--detailed-exitcode")
    assert code == 1
    assert "towline release sign" in out


@pytest.mark.parametrize(
    "words",
    [
        ["--store", "a", "--inventory", "b"],
        ["--store", "a", "--record"],
    ],
)
def test_what_excludes_each_other_is_a_usage_error(
    published: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run(capsys, *words)[0] == 64


def test_a_store_of_another_fleet_is_refused(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_store(tmp_path / "other.db").close()
    code, _, err = run(capsys, "--store", str(tmp_path / "other.db"))
    assert code == 1
    assert "holds no fleet of acme" in err


def test_only_the_statements_of_named_versions_are_sent(published: Path, hello: Path) -> None:
    assert main.run(["publish", str(hello), "--version", "1.1.0"]) == 0
    commit = files_at(load(published), git(published, "rev-parse", "HEAD"))
    statements = {path for path in _needed(commit) if path.startswith("releases/")}
    assert {path.split("/")[2] for path in statements} == {"1.1.0"}


def test_a_comment_stays_below_what_hosts_take(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = document(capsys, "--store", str(store), "--names")
    assert markdown(told).startswith(MARKER)
    one = told["deployments"]
    for times in (10, 200, 2000):
        told["deployments"] = one * times
        assert len(markdown(told)) < COMMENT_LIMIT + 200
    assert markdown(told).endswith(CUT)


def test_words_of_manifests_make_no_markup_in_a_comment() -> None:
    told = _told(errors=[{"reason": "DoesNotLoad", "message": "<b>@all | x"}])
    assert "&lt;b>&#64;all \\| x" in markdown(told)


def test_long_lists_of_names_are_cut_with_a_count() -> None:
    names = {"shown": [f"pi-{n}" for n in range(100)], "left": 900}
    skip = {"reason": "NewerInstalled", "devices": 1000, "names": names}
    words = text(_told(deployments=[_deployment(skipped=[skip])]))
    assert "pi-49 and 950 more" in words
    assert "pi-50" not in words


def _told(**changes: Any) -> Mapping[str, Any]:
    summary = dict.fromkeys(("add", "change", "remove", "devices", "bytes", "skipped"), 0)
    return {
        "base": None,
        "head": "f" * 40,
        "madeAt": "2026-11-25T08:00:00Z",
        "errors": [],
        "deployments": [],
        "summary": {**summary, "hasChanges": True, "hasErrors": False},
    } | changes


def _deployment(**changes: Any) -> dict[str, Any]:
    lists = (
        "keys",
        "batches",
        "skipped",
        "versions",
        "waitsFor",
        "errors",
        "warnings",
        "noWayBack",
    )
    return {
        "name": "app",
        "change": "add",
        "versionBefore": None,
        "versionAfter": "1.0.0",
        "devices": 0,
        "bytes": 0,
        "openings": None,
        "estimate": None,
        **{key: [] for key in lists},
    } | changes
