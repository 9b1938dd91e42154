"""The unchanged poll as an async route of FastAPI: `python -m bench.twins.polls DEVICES`.

It checks what Towline checks (session, nonce, sequence number, ETag), from memory, too.
"""

import sys
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Response

from bench.session import digest, session_of
from bench.twins.serving import serve

ETAG = '"twin"'


def application(devices: int) -> FastAPI:
    """The twin."""
    app = FastAPI()
    sessions = {digest(session_of(seq)): seq for seq in range(1, devices + 1)}
    etags = dict.fromkeys(sessions.values(), ETAG)

    async def device(authorization: Annotated[str, Header()]) -> int:
        found = sessions.get(digest(authorization.removeprefix("Bearer ")))
        if found is None:
            raise HTTPException(401)
        return found

    @app.get("/api/v1/ota/desired-state")
    async def desired_state(
        device: Annotated[int, Depends(device)],
        towline_nonce: Annotated[str, Header(pattern=r"^[A-Za-z0-9_-]{22}$")],
        towline_sequence: Annotated[int, Header(ge=0)],
        if_none_match: Annotated[str, Header()] = "",
        wait: Annotated[int, Query(ge=0)] = 0,
    ) -> Response:
        etag = etags[device]
        if if_none_match == etag:
            return Response(status_code=304, headers={"etag": etag})
        return Response(b"{}", headers={"etag": etag, "cache-control": "no-store"})

    return app


if __name__ == "__main__":
    serve(application(int(sys.argv[1])))
