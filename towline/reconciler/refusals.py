"""How an act is refused: by what the state allows, or because there is no such thing."""


class NotAllowed(Exception):
    """The state does not allow the act; the text says what is allowed (409)."""


class Unknown(Exception):
    """There is no such run or device (404)."""
