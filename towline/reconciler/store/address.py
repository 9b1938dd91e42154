"""Where a store is: a SQLite file, or the URL of a Postgres database.

Knows no library, so that reading the settings loads none.
"""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from towline.schemas.problems import Problem

STORE_FILE = "towline.db"
"""What the SQLite file is called in a server's data folder."""
_SCHEMES = ("postgresql", "postgres")


def is_url(text: str) -> bool:
    """True for what means a database, and no file."""
    scheme, colon, _ = text.partition("://")
    return bool(colon) and scheme in _SCHEMES


def checked_url(text: str, *, may_hold_password: bool = True) -> str:
    """`text`, when it names a Postgres database; raises Problem, without repeating it."""
    try:
        parts = urlsplit(text)
        is_whole = is_url(text) and parts.path.strip("/") != "" and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole:
        raise Problem(
            "this is no URL of a Postgres database",
            remedy="write postgresql://USER@HOST/DATABASE, or postgresql:///DATABASE for one here",
        )
    if not may_hold_password and (parts.password or "password" in parse_qs(parts.query)):
        raise Problem(
            "the URL of the store holds a password, which others would read here",
            remedy="name a file in the URL, ?passfile=/etc/towline/pgpass, or set the whole URL as"
            " TOWLINE_STORE in the environment",
        )
    return text


def place_of(text: str) -> Path | str:
    """What a person named as a store: a URL, a SQLite file, or the data folder with it.

    Raises Problem.
    """
    # Whatever looks like a URL, as it may hold a password: as a path it would be shown.
    if "://" in text:
        return checked_url(text, may_hold_password=False)
    path = Path(text)
    path = path / STORE_FILE if path.is_dir() else path
    if not path.is_file():
        raise Problem(
            f"there is no store at {path}",
            remedy=f"name a server's {STORE_FILE}, or the postgresql:// URL of its database",
        )
    return path
