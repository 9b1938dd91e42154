"""The pages of what waits for people, of the repository, and of what people did."""

from typing import Any

import pytest
from sqlalchemy import insert, update

from tests.server.conftest import NOW, ORGANIZATION, AddRun, Running, wall
from tests.server.test_admin_create import Fleet, fleet
from tests.server.test_serve import settings
from tests.server.visiting import PAGE, Guest
from towline.reconciler.commit_fates import Fate, fates
from towline.reconciler.head import CommitSeen, Head
from towline.reconciler.store import tables as t
from towline.reconciler.store.reading_commits import CommitKnown

__all__ = ["fleet", "settings"]


def hold(server: Running, run: int, reason: str, message: str = "because") -> None:
    values = {
        "organization": ORGANIZATION,
        "deployment": "hello",
        "run_seq": run,
        "reason": reason,
        "message": message,
        "author": "",
        "since": NOW,
    }
    with server.store.write() as connection:
        connection.execute(insert(t.holds), values)


def test_what_waits_for_an_approval_says_for_whose(server: Running, add_run: AddRun) -> None:
    run = add_run(status="paused", started_at=None)
    hold(server, run, "WaitingForApproval", "0 of 2 operators approved the start")
    shown = Guest(server).sign_in("operator").get("/approvals")
    assert "0 of 2 operators approved the start" in shown.text
    assert "an operator other than Ada <ada@example.com>" in shown.text
    (link,) = [each for each in shown.links() if each.endswith("/approve")]
    assert Guest(server).sign_in("operator").get(link).status == 200
    as_viewer = Guest(server).sign_in("viewer").get("/approvals")
    assert "0 of 2 operators" in as_viewer.text
    assert not [each for each in as_viewer.links() if each.endswith("/approve")]


def test_who_wrote_the_commit_is_not_asked_to_approve_it(server: Running, add_run: AddRun) -> None:
    run = add_run(status="paused", started_at=None, author="operator person <o@acme>")
    hold(server, run, "WaitingForApproval")
    shown = Guest(server).sign_in("operator").get("/approvals")
    assert "somebody else must approve it" in shown.text
    assert not [each for each in shown.links() if each.endswith("/approve")]


def test_a_start_waits_and_other_holds_do_not(server: Running, add_run: AddRun) -> None:
    guest = Guest(server).sign_in("operator")
    assert "Nothing waits for anybody" in guest.get("/approvals").text
    hold(server, add_run(status="paused"), "ThresholdNotMet")
    add_run("other", status="completed", reason="WaitingForStart")
    assert "Nothing waits for anybody" in guest.get("/approvals").text
    add_run("later", status="pending", reason="WaitingForStart", started_at=None)
    shown = guest.get("/approvals")
    assert "Waiting for a start" in shown.text
    assert [each for each in shown.links() if each.endswith("/start")]


def test_nothing_of_another_organization_waits_here(server: Running, add_run: AddRun) -> None:
    hold(server, add_run(status="paused", organization="other"), "PlanStale")
    add_run("later", status="pending", reason="WaitingForStart", organization="other")
    assert "Nothing waits for anybody" in Guest(server).sign_in("operator").get("/approvals").text


def test_what_waits_for_its_merge_is_among_what_waits(fleet: Fleet) -> None:
    made = fleet.made()
    shown = Guest(fleet).sign_in("viewer").get("/approvals")
    assert "Waiting for a merge" in shown.text
    assert made["compare"] in shown.text


def known(**applied: int) -> dict[str, CommitKnown]:
    return {sha: CommitKnown(applied_at=applied.get(sha)) for sha in "abcd"}


@pytest.mark.parametrize(
    ("applied", "in_force", "held", "told"),
    [
        ({"a": 2, "c": 1}, "a", None, "in force, came with a later one, was in force, came with"),
        ({"c": 1}, "c", "a", "held, not yet looked at, in force, came with a later one"),
        ({}, None, None, ", ".join(["not yet looked at"] * 4)),
        # The event of the commit in force may be out of reach.
        ({}, "b", None, "not yet looked at, in force, came with a later one, came with"),
    ],
)
def test_what_became_of_each_commit(
    applied: dict[str, int], in_force: str | None, held: str | None, told: str
) -> None:
    found: list[Fate] = fates("abcd", known(**applied), in_force, held)
    assert ", ".join(found).startswith(told)


def test_the_git_page_shows_commits_what_they_began_and_what_is_broken(fleet: Fleet) -> None:
    made = fleet.made(release=fleet.statement(), start="automatic")
    fleet.merge(made["branch"])
    fleet.until(lambda: fleet.get(f"/deployments/{made['deployment_id']}")["reason"] != "")
    broken = "apiVersion: towline/v1\nkind: Deployment\nmetadata: {name: broken}\nspec: {x: 1}\n"
    fleet.commit(broken=broken)
    guest = Guest(fleet).sign_in("viewer")
    shown = guest.get("/git").text
    assert shown.count("✓ in force") == 1
    assert "Merge · was in force" in shown
    assert "firmware-update-v2.1.0 v2.1.0" in shown
    assert "broken.yaml is broken" in shown
    assert "By hand" in shown


def test_a_held_commit_is_let_through_by_an_admin_who_says_why(fleet: Fleet) -> None:
    for name in ("one", "two"):
        fleet.commit(**{name: MANIFEST.format(name=name)})
    fleet.git("rm", "-q", "one.yaml", "two.yaml")
    fleet.git("commit", "-q", "-m", "Remove all of it")
    fleet.until(lambda: fleet.get("/repository")["held_commit"] is not None)
    assert Guest(fleet).sign_in("operator").get("/git/accept").status == 403
    guest = Guest(fleet).sign_in("admin")
    shown = guest.get("/git")
    assert "it removes 2 of 2 Deployments at once" in shown.text
    assert "Remove all of it ‖ held" in shown.text
    assert f"{PAGE}/git/accept" in guest.get("/approvals").links()
    form = guest.get("/git/accept").form("/accept")
    assert guest.send(form, reason=" ").status_code == 422
    assert guest.send(form, reason="because", commit="0" * 40).status_code == 409
    assert guest.send(form, reason="because").status_code == 303
    fleet.wait_for_head()
    assert guest.get("/git/accept").status == 409
    told = guest.get("/audit").text
    assert "because" in told


MANIFEST = """apiVersion: towline/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  component: {name}
  targetVersion: "1.0.0"
  package: {{url: a.tar.gz, checksum: "sha256:{name:0>64}"}}
""".replace("{name:0>64}", "0c" * 32)


def test_a_branch_that_is_not_read_for_long_is_stale(server: Running) -> None:
    server.heads.append(Head(ORGANIZATION, CommitSeen("12" * 20), server.root))
    for age_s, words in ((60, ""), (3600, "ago; after 1 d every"), (90_000, "until git is back")):
        with server.store.write() as connection:
            connection.execute(update(t.repositories).values(last_fetch_at=wall() - age_s))
        text = Guest(server).sign_in("viewer").get("/git").text
        assert words in text
        assert ("was read last" in text) is bool(words)


def test_the_audit_is_for_admins_filtered_and_paged(server: Running, add_run: AddRun) -> None:
    add_run()
    guest = Guest(server).sign_in("operator")
    for _ in range(28):
        for verb in ("pause", "resume"):
            form = guest.get(f"/deployments/hello/{verb}").form(f"/{verb}")
            assert guest.send(form, reason="a <b>look</b>").status_code == 303
    assert guest.get("/audit").status == 403
    assert f"{PAGE}/audit" not in guest.get().links()
    admin = Guest(server).sign_in("admin")
    shown = admin.get("/audit")
    assert f"{PAGE}/audit" in shown.links()
    assert shown.text.count("deployment.pause ") + shown.text.count("deployment.resume ") > 40
    assert "<b>look" not in shown.html
    (onward,) = [each for each in shown.links() if "before=" in each]
    assert "dashboard.sign-in" in admin.get(f"{PAGE}/audit{onward}").text
    only: Any = admin.get("/audit", action="deployment.pause", who="operator person")
    assert "deployment.resume " not in only.text
    assert "No act fits" in admin.get("/audit", deployment="none").text
