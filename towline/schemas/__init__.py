"""What crosses a boundary: words, documents on the wire, envelopes and trust rules.

Standard library and `cryptography` only, because the agent imports this room.
"""
