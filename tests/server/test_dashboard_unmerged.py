"""The dashboard's pages of what waits for its merge, over a real server and a real repository."""

from tests.server.test_admin_create import Fleet, fleet
from tests.server.test_serve import settings
from tests.server.visiting import PAGE, Guest

__all__ = ["fleet", "settings"]


def guest_of(fleet: Fleet, role: str = "operator") -> Guest:
    return Guest(fleet).sign_in(role)


def test_one_that_waits_for_its_merge_is_listed_first_with_where_to_merge(fleet: Fleet) -> None:
    made = fleet.made()
    guest = guest_of(fleet)
    for query in ({}, {"status": "pending"}):
        listed = guest.get("", **query)
        assert "Firmware Update v2.1.0" in listed.text
        assert "WaitingForMerge" in listed.text
    assert "No Deployment is completed" in guest.get("", status="completed").text
    shown = guest.get(f"/deployments/{made['deployment_id']}")
    for words in (made["branch"], made["compare"], "Ada operator", "once branch"):
        assert words in shown.text
    by_name = guest.get("/deployments/firmware-update-v2.1.0")
    assert by_name.status == 200


def test_it_can_be_paused_resumed_and_given_up_and_nothing_else(fleet: Fleet) -> None:
    made = fleet.made()
    guest, path = guest_of(fleet), f"/deployments/{made['deployment_id']}"
    for verb, said, status in (
        ("pause", "its run begins paused", "paused"),
        ("resume", "its run begins as the manifest says", "pending"),
        ("cancel", "a merge still deploys it", "cancelled"),
    ):
        assert f"{PAGE}{path}/start" not in guest.get(path).links()
        asked = guest.get(f"{path}/{verb}")
        assert said in asked.text
        assert guest.send(asked.form(f"/{verb}"), reason="because").status_code == 303
        assert fleet.get(path)["status"] == status
    assert guest.get(f"{path}/start").status == 409
    assert not [link for link in guest.get(path).links() if link.endswith("/retry")]


def test_a_viewer_sees_it_and_is_offered_nothing(fleet: Fleet) -> None:
    made = fleet.made()
    guest, path = guest_of(fleet, "viewer"), f"/deployments/{made['deployment_id']}"
    assert guest.get(path).status == 200
    assert not [link for link in guest.get(path).links() if link.endswith("/pause")]
    assert guest.get(f"{path}/pause").status == 403
