"""A receipt is as it was written: of one device, up to one report, at one time."""

from dataclasses import replace

import pytest

from towline.reconciler.server.receipts import Receipts
from towline.reconciler.server.sessions import Session
from towline.schemas.keys import PrivateKey
from towline.schemas.reports import Acknowledged, Heard

KEY = PrivateKey.from_raw(b"o" * 32)
RECEIPTS = Receipts(lambda _: KEY)
SESSION = Session(1, "pi-0001", "k" * 64, 0, "acme")
WRITTEN = Acknowledged(Heard(2, 5), 7)
RECEIPT = RECEIPTS.write(SESSION, WRITTEN.heard, WRITTEN.at)
MARK = RECEIPT.rpartition(".")[2]


def test_it_is_read_as_it_was_written() -> None:
    assert RECEIPTS.read(SESSION, RECEIPT) == WRITTEN
    assert RECEIPTS.read(replace(SESSION, keyid="n" * 64), RECEIPT) == WRITTEN


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"{RECEIPT}0",
        f"{RECEIPT}\n",
        f" {RECEIPT}",
        RECEIPT[:-1],
        f"2.5.7.{'0' * 64}",
        f"3.5.7.{MARK}",
        f"2.6.7.{MARK}",
        f"2.5.8.{MARK}",
        f"2.-5.7.{MARK}",
        f"{'9' * 5000}.5.7.{MARK}",
    ],
)
def test_what_is_changed_in_one_place_is_none(text: str) -> None:
    assert RECEIPTS.read(SESSION, text) is None


def test_it_is_of_one_device() -> None:
    assert RECEIPTS.read(replace(SESSION, slug="pi-0002"), RECEIPT) is None
    assert RECEIPTS.read(replace(SESSION, organization="other"), RECEIPT) is None


def test_it_is_of_one_online_key_in_whichever_process() -> None:
    assert Receipts(lambda _: KEY).read(SESSION, RECEIPT) == WRITTEN
    assert Receipts(lambda _: PrivateKey.from_raw(b"p" * 32)).read(SESSION, RECEIPT) is None
