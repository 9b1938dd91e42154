"""What keeps a device out, in words, and how it gets in again."""

from typing import Any

from sqlalchemy import Row

from towline.reconciler.store.device_keys import DeviceState, fingerprint_of

_NEW_KEY = "enrol it with a new key (an empty --root), and approve the change"


def shut_out(device: Row[Any]) -> str:
    """The end of a sentence that begins with the device's id; empty where nothing does."""
    match device.state:
        case DeviceState.REVOKED if device.revoked_in_git:
            return (
                "is revoked by git: it is offered nothing until its Device manifest says"
                " `state: active`, and lists its key where it did before."
            )
        case DeviceState.REVOKED:
            shown = fingerprint_of(device.public_key) or "…"
            line = f"towline device approve {device.slug} --fingerprint {shown}"
            return (
                f"is revoked: it is offered nothing.\n  → `{line}` lets it in again; or {_NEW_KEY}."
            )
        case DeviceState.DUPLICATE:
            return (
                "is held as DuplicateIdentity: two machines speak with its key by turns, and"
                " neither is offered anything.\n"
                f"  → {_NEW_KEY}; enrol the other one under an id of its own."
            )
    return ""
