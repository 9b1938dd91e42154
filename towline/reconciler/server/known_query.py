"""A word in a query that a call does not have is refused: a slip would else ask for everything."""

from difflib import get_close_matches
from typing import Any

from fastapi.dependencies.models import Dependant
from starlette.requests import HTTPConnection

from towline.reconciler.server.desk import Declined


def only_known(connection: HTTPConnection) -> None:
    """Raises Declined for a parameter that the call does not have."""
    route: Any = connection.scope["route"]
    known = _known(route.dependant)
    for name in connection.query_params:
        if name not in known:
            near = get_close_matches(name, known, 1)
            instead = near or [", ".join(sorted(known)) or "none"]
            words = f"query.{name[:80]}: there is no such parameter; there is {instead[0]}"
            raise Declined(422, "bad-field", words)


def _known(dependant: Dependant) -> set[str]:
    """Of the call itself, and of what it depends on."""
    known = {field.alias for field in dependant.query_params}
    return known.union(*(_known(inner) for inner in dependant.dependencies))
