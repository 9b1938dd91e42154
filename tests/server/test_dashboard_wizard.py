"""The wizard without a script: four steps to a commit, a branch or a file, and edits."""

import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx

from tests.server.test_admin_create import DIRECT, Fleet, fleet
from tests.server.test_serve import settings
from tests.server.visiting import PAGE, Form, Guest, Page
from towline.reconciler.server.dashboard import web
from towline.reconciler.store import people
from towline.reconciler.store.engine import open_store
from towline.reconciler.store.people import Role

__all__ = ["fleet", "settings"]

PACKAGE = b"a package"
STATIC = Path(web.__file__).parent / "static"
CHECKSUM = f"sha256:{sha256(PACKAGE).hexdigest()}"
BASICS = {
    "deployment_name": "Till 2.1",
    "target_version": "2.1.0",
    "component": "till",
    "rollout_strategy": "canary",
    "rollout_percentage": "20",
    "start": "manual",
    "release_notes": "Faster.\nSafer.",
}
TARGETS = {"labels": "region=eu", "device_type": "raspberry_pi"}
PACKAGED = {"update_package_url": "till.tar.gz", "checksum": CHECKSUM}
BY_HAND = """\
# The till of every shop.
apiVersion: towline/v1
kind: Deployment
metadata: {name: till}   # keep this name
spec:
  component: till
  targetVersion: "2.0.0"   # a string
  strategy: immediate
  filters: {labels: {region: eu}}
  package:
    url: till-2.0.0.tar.gz
    checksum: sha256:CHECKSUM
""".replace("CHECKSUM", "0c" * 32)


class Wizard:
    """Fills in what a page asks, and follows its buttons."""

    def __init__(self, guest: Guest, query: str = "") -> None:
        self.guest = guest
        self.page = guest.get(f"/new{query}")

    def press(self, button: str, **fields: str) -> httpx.Response:
        form = next(each for each in self.page.forms if "/new/" in each.action)
        answer = self.guest.send(form, go=button, **fields)
        if answer.status_code in (200, 422) and "html" in answer.headers["content-type"]:
            self.page = Page(answer)
        return answer

    def next(self, **fields: str) -> Page:
        assert self.press("next", **fields).status_code == 200, self.page.text
        return self.page

    def to_review(self, **changes: str) -> Page:
        for step in (BASICS, TARGETS, PACKAGED):
            self.next(**(step | {name: changes[name] for name in step if name in changes}))
        return self.page


def test_four_steps_lead_to_a_branch_with_where_to_merge_it(fleet: Fleet) -> None:
    guest = Guest(fleet).sign_in()
    wizard = Wizard(guest)
    review = wizard.to_review()
    assert 'value="commit"' not in review.html
    assert "metadata:\n  name: till-2.1" in re.sub(r"<[^>]*>", "", review.html)
    assert "+ till-2.1 2.1.0: new" in review.text
    assert (
        "towline release sign till.tar.gz --component till --version 2.1.0 --repo ." in review.text
    )
    answer = wizard.press("branch")
    assert answer.status_code == 303, answer.text
    shown = guest.get(answer.headers["location"])
    assert "WaitingForMerge" in shown.text
    branch = re.search(r"Branch (\S+) waits for its merge: git ", shown.text)
    assert branch is not None
    manifest = fleet.manifest(branch[1], "till-2.1")
    assert manifest["metadata"]["title"] == "Till 2.1"
    assert manifest["spec"] == {
        "component": "till",
        "targetVersion": "2.1.0",
        "releaseNotes": "Faster.\nSafer.",
        "package": {"url": "till.tar.gz", "checksum": CHECKSUM},
        "filters": {"device_type": "raspberry_pi", "labels": {"region": "eu"}},
        "strategy": {"type": "canary", "percentage": 20},
        "start": "manual",
    }
    assert "at the dashboard" in fleet.git("log", "-1", "--format=%B", branch[1])
    assert fleet.git("log", "-1", "--format=%an", branch[1]) == "Ada operator"


def test_what_it_commits_is_what_a_call_would(fleet: Fleet) -> None:
    wizard = Wizard(Guest(fleet).sign_in())
    wizard.to_review()
    text = wizard.press("download")
    assert text.headers["content-disposition"] == 'attachment; filename="till-2.1.yaml"'
    made = fleet.post(
        deployment_name="Till 2.1",
        target_version="2.1.0",
        component="till",
        release_notes="Faster.\nSafer.",
        device_filters={"labels": {"region": "eu"}, "device_type": "raspberry_pi"},
        update_package_url="till.tar.gz",
        checksum=CHECKSUM,
    ).json()
    assert fleet.git("show", f"{made['branch']}:deployments/till-2.1.yaml") == text.text.strip()


def test_where_the_policy_lets_it_the_commit_goes_straight_and_its_run_is_shown(
    fleet: Fleet,
) -> None:
    fleet.commit(policy=DIRECT)
    guest = Guest(fleet).sign_in()
    wizard = Wizard(guest)
    assert 'value="commit"' in wizard.to_review(start="automatic").html
    answer = wizard.press("commit")
    assert answer.status_code == 303, answer.text
    shown = guest.get(answer.headers["location"])
    assert re.search(r"✓ Commit [0-9a-f]{12} is on main\.", shown.text)
    assert fleet.manifest("main", "till-2.1")["spec"]["start"] == "automatic"
    path = answer.headers["location"]
    fleet.until(lambda: "WaitingForStatement" in guest.get(path).text)
    again = Wizard(guest)
    assert "till-2-1 delivers this already" in again.to_review().text.replace(
        "till-2.1", "till-2-1"
    )
    assert "go" not in [each.attributes.get("value") for each in again.page.elements if 0]


def test_a_branch_can_be_wanted_where_a_commit_would_do(fleet: Fleet) -> None:
    fleet.commit(policy=DIRECT)
    wizard = Wizard(Guest(fleet).sign_in())
    wizard.to_review()
    head = fleet.git("rev-parse", "main")
    assert wizard.press("branch").status_code == 303
    assert fleet.git("rev-parse", "main") == head
    assert "towline/till-2.1-" in fleet.git("branch", "--list")


WRONG_BASICS = (
    ({"deployment_name": ""}, "deployment_name", "this is needed"),
    ({"target_version": ""}, "target_version", "this is needed"),
    ({"rollout_percentage": "many"}, "rollout_percentage", "a whole number from 1 to 100"),
    ({"rollout_percentage": "101"}, "rollout_percentage", "less than or equal to 100"),
    ({"component": "Not An Id"}, "component", "should match pattern"),
    ({"rollout_strategy": "sometimes"}, "rollout_strategy", "Input should be 'manual'"),
    ({"deployment_name": "x" * 256}, "deployment_name", "at most 255"),
)
WRONG_TARGETS = (
    ({"labels": "nonsense"}, "labels", "write KEY=VALUE"),
    ({"group": "none"}, "group", "no DeviceGroup has the name none"),
    ({"current_version": "!2"}, "current_version", "Input should be '='"),
    ({"current_version": ">= 2 3"}, "current_version", "2 3"),
    ({"status": "maybe"}, "status", "Input should be 'online'"),
)


def test_what_is_wrong_is_said_at_its_field(fleet: Fleet) -> None:
    wizard = Wizard(Guest(fleet).sign_in())
    for fields, name, words in WRONG_BASICS:
        assert wizard.press("next", **(BASICS | fields)).status_code == 422, fields
        assert_fault(wizard.page, name, words)
        kept = [each.attributes.get("value") for each in wizard.page.elements]
        assert fields.get("component", BASICS["component"]) in kept
    wizard.next(**BASICS)
    for fields, name, words in WRONG_TARGETS:
        blank = dict.fromkeys(("labels", "group", "current_version", "status"), "")
        assert wizard.press("next", **(blank | fields)).status_code == 422, fields
        assert_fault(wizard.page, name, words)


def assert_fault(page: Page, name: str, words: str) -> None:
    assert words in page.text
    (field,) = [each for each in page.elements if each.attributes.get("id") == name]
    assert field.attributes["aria-invalid"] == "true", name
    assert f"{name}-fault" in field.attributes["aria-describedby"]


def test_devices_are_counted_with_a_sample_and_who_else_owns_them(fleet: Fleet) -> None:
    for name in ("pi-0001", "pi-0002", "pi-0003"):
        fleet.enrol(name, region="eu" if name != "pi-0003" else "us")
    fleet.commit(till=BY_HAND)
    wizard = Wizard(Guest(fleet).sign_in())
    wizard.next(**BASICS)
    assert "3 devices match, e.g. pi-0001, pi-0002, pi-0003." in wizard.page.text
    wizard.press("count", labels="region=eu")
    text = wizard.page.text
    assert "2 devices match, e.g. pi-0001, pi-0002. 2 of them would be updated now" in text
    assert "2 devices of these belong to till , too: pi-0001, pi-0002" in text
    assert "It was written by hand" in text
    assert f"{PAGE}/new?edit=till" in wizard.page.links()
    wizard.press("count", labels="region=eu, region=us", device_ids="pi-0003 pi-0002")
    assert "2 devices match, e.g. pi-0002, pi-0003." in wizard.page.text
    wizard.press("count", labels="region=mars")
    assert "0 devices match." in wizard.page.text
    wizard.press("back")
    assert [each for each in wizard.page.elements if each.attributes.get("value") == "Till 2.1"]


def test_a_package_is_looked_at_and_its_statement_found(fleet: Fleet) -> None:
    packages = fleet.folder.parent / "packages"
    (packages / "till.tar.gz").write_bytes(PACKAGE)
    wizard = Wizard(Guest(fleet).sign_in())
    wizard.next(**BASICS)
    wizard.next(**TARGETS)
    assert wizard.press("next").status_code == 422
    assert wizard.press("look", update_package_url="none.tar.gz").status_code == 422
    assert "there is no none.tar.gz below the server's /packages/" in wizard.page.text
    assert wizard.press("look", update_package_url="http://x/a.tar.gz").status_code == 422
    assert wizard.press("look", update_package_url="till.tar.gz").status_code == 200
    assert "✓ 9 B (9 bytes)" in wizard.page.text
    (field,) = [e for e in wizard.page.elements if e.attributes.get("id") == "checksum"]
    assert field.attributes["value"] == CHECKSUM
    assert "towline release sign till.tar.gz" in wizard.page.text
    folder = fleet.folder / "releases" / "till" / "2.1.0"
    folder.mkdir(parents=True)
    word = fleet.statement("2.1.0", component="till", file_name="till.tar.gz", sha256=CHECKSUM[7:])
    (folder / "till.tar.gz.json").write_bytes(httpx.Response(200, json=word).content)
    fleet.commit()
    wizard.press("look", update_package_url="till.tar.gz")
    assert "✓ Signed: releases/till/2.1.0/till.tar.gz.json" in wizard.page.text
    assert "+ till-2.1 2.1.0: new" in wizard.next().text


def test_an_edit_keeps_every_comment_and_shows_what_differs(fleet: Fleet) -> None:
    fleet.commit(till=BY_HAND, policy=DIRECT)
    guest = Guest(fleet).sign_in()
    assert f"{PAGE}/new?edit=till" in guest.get("/deployments/till").links()
    wizard = Wizard(guest, "?edit=till")
    assert "Component till" in wizard.page.text
    wizard.next(target_version="2.1.0", rollout_strategy="canary", rollout_percentage="5")
    wizard.next(labels="region=eu, region=us")
    review = wizard.next(update_package_url="till.tar.gz", checksum=CHECKSUM)
    assert 'removed: targetVersion: "2.0.0" # a string' in review.text
    assert 'added: targetVersion: "2.1.0" # a string' in review.text
    assert "~ till 2.0.0 -> 2.1.0: a new revision" in review.text
    answer = wizard.press("commit")
    assert answer.status_code == 303, answer.text
    assert "till" in guest.get(answer.headers["location"]).text
    assert (
        fleet.git("show", "main:till.yaml")
        == BY_HAND.replace('2.0.0"', '2.1.0"')
        .replace("strategy: immediate", "strategy: {type: canary, percentage: 5}")
        .replace("{region: eu}", "{region: [eu, us]}")
        .replace("url: till-2.0.0.tar.gz", "url: till.tar.gz")
        .replace(f"sha256:{'0c' * 32}", f'"{CHECKSUM}"')
        .strip()
    )


def test_what_the_plan_calls_an_error_goes_to_a_branch_only(fleet: Fleet) -> None:
    fleet.enrol("pi-0001", region="us")
    other = BY_HAND.replace("name: till", "name: other").replace("region: eu", "region: us")
    fleet.commit(till=BY_HAND, other=other, policy=DIRECT)
    wizard = Wizard(Guest(fleet).sign_in(), "?edit=till")
    wizard.next()
    wizard.next(labels="")
    review = wizard.next()
    assert "error Conflict" in review.text
    assert 'value="commit"' not in review.html
    assert wizard.press("branch").status_code == 303


def test_an_edit_of_nothing_or_of_nothing_there_is_refused(fleet: Fleet) -> None:
    fleet.commit(till=BY_HAND)
    guest = Guest(fleet).sign_in()
    assert guest.get("/new", edit="none").status == 404
    wizard = Wizard(guest, "?edit=till")
    for _ in range(3):
        wizard.next()
    assert "nothing was changed" in wizard.page.text
    assert wizard.press("branch").status_code == 422
    tuned = Wizard(guest, "?edit=till")
    tuned.next(release_notes="New notes")
    tuned.next()
    tuned.next()
    answer = tuned.press("branch")
    assert answer.status_code == 303
    shown = guest.get(answer.headers["location"])
    assert "waits for its merge" in shown.text
    assert fleet.get("/deployments")["pagination"]["total_count"] == 1


def test_who_may_not_act_makes_nothing(fleet: Fleet) -> None:
    for role in ("viewer", "planner"):
        guest = Guest(fleet).sign_in(role)
        assert f"{PAGE}/new" not in guest.get().links()
        assert guest.get("/new").status == 403
        form = guest.get().form("/sign-out")
        forged = Form(f"{PAGE}/new/review", "post", form.fields | {"draft": "{}"})
        assert guest.send(forged, go="commit").status_code == 403
    assert fleet.git("branch", "--list") == "* main"


def test_what_is_none_of_the_wizard_s_is_refused(fleet: Fleet) -> None:
    guest = Guest(fleet).sign_in()
    form: Any = Wizard(guest).page.form("/basics")
    long = "x" * 30_000
    for draft in ("", "[]", '{"unknown": "x"}', '{"labels": 1}', f'{{"labels": "{long}"}}'):
        assert guest.send(form, draft=draft, go="next").status_code == 422, draft[:20]
    assert guest.send(form, deployment_name=long, go="next").status_code == 422
    assert guest.send(form, deployment_name="x" * 2_000_000, go="next").status_code == 413
    form.fields.pop("csrf")
    assert guest.send(form, go="next").status_code == 403


def test_what_was_typed_stays_text_on_every_step(fleet: Fleet) -> None:
    wizard = Wizard(Guest(fleet).sign_in())
    hostile = '"><script>alert(1)</script>'
    wizard.to_review(
        deployment_name=hostile, release_notes=f"</textarea>{hostile}", labels=f"a={hostile}"
    )
    assert hostile not in wizard.page.html
    for _ in range(3):
        wizard.press("back")
        assert hostile not in wizard.page.html
    assert "alert(1)" in wizard.page.html


def test_who_is_of_another_organization_makes_nothing_here(fleet: Fleet) -> None:
    store = open_store(fleet.store_file)
    with store.write() as connection:
        fleet.tokens["stranger"] = people.create_admin_token(
            connection, "other", name="Eve", role=Role.ADMIN, now=0
        )
    store.close()
    guest = Guest(fleet).sign_in("stranger")
    assert guest.get("/new").status == 404
    for path in ("/git", "/approvals", "/audit"):
        assert "By hand" not in guest.get(path).text
        assert "Ada" not in guest.get(path).text
    forged = Form(f"{PAGE}/new/basics", "post", guest.get().form("/sign-out").fields)
    assert guest.send(forged, draft="{}", **BASICS).status_code == 404


def test_the_scripts_of_all_pages_are_small() -> None:
    assert 1000 < sum(len(file.read_bytes()) for file in STATIC.glob("*.js")) <= 12_000


def test_a_step_of_its_own_leads_to_the_first(fleet: Fleet) -> None:
    assert "deployment_name" in Guest(fleet).sign_in().get("/new/review").html
