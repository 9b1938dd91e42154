"""What must be said of the newest root wherever people look, as long as it stands. Pure."""

from towline.reconciler.lengths import about
from towline.schemas.root import Root

DAY_S = 86400
EXPIRY_WARNED_S = 90 * DAY_S
"""So long before its end a root is spoken of: people must come together to sign the next one."""


def warnings_of(root: Root, now: int) -> list[str]:
    """Each as one sentence with its remedy; empty when all is as it should be."""
    return [*_of_its_keys(root), *_of_its_end(root, now)]


def _of_its_keys(root: Root) -> list[str]:
    if not root.is_development:
        return []
    return [
        f"root {root.version} has throw-away development keys: whoever has them can put any"
        " software on every device; `towline trust init` makes others"
    ]


def _of_its_end(root: Root, now: int) -> list[str]:
    left = root.expires - now
    if left > EXPIRY_WARNED_S:
        return []
    when = f"expires in {about(left)}" if left > 0 else f"expired {about(-left)} ago"
    return [
        f"root {root.version} {when}: from then on no device installs anything;"
        " `towline trust bump` makes the next one"
    ]
