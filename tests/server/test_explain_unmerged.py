"""What is told of a Deployment that waits for its merge: what it waits for, and the way out."""

from typing import Any

import httpx
from sqlalchemy import insert, select

from tests.server.changing import waiting
from tests.server.conftest import Running
from tests.server.test_admin import API, get
from towline.reconciler.store import tables as t

LINK = "https://git.example.com/compare/main...towline/later"


def story(server: Running) -> dict[str, Any]:
    answer = get(server, "/deployments/later/explain")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def verb(server: Running, name: str) -> httpx.Response:
    return server.client.post(
        f"{API}/deployments/later/{name}", json={}, headers=server.admin("operator")
    )


def test_it_says_what_it_waits_for_and_how_that_ends(server: Running) -> None:
    with server.store.write() as connection:
        connection.execute(insert(t.merge_requests), waiting("later") | {"compare": LINK})
        run_id = str(connection.execute(select(t.merge_requests.c.id)).scalar_one())
    told = story(server)
    assert (told["status"], told["reason"], told["id"]) == ("pending", "WaitingForMerge", run_id)
    assert told["decision"]["text"] == (
        f"WaitingForMerge: branch towline/later is not merged yet: {LINK}"
    )
    assert f"  → merge it: {LINK}; or `towline cancel later`." in told["text"]
    assert told["needs"] == f"the merge of {LINK}"
    assert verb(server, "pause").status_code == 200
    assert "`towline resume later` ends the hold" in story(server)["text"]
    assert verb(server, "cancel").status_code == 200
    told = story(server)
    assert told["status"] == "cancelled"
    assert f"a merge of {LINK} still deploys it" in told["needs"]


def test_what_is_nowhere_is_404(server: Running) -> None:
    assert get(server, "/deployments/ghost/explain").status_code == 404
