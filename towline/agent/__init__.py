"""The device: observe, decide, apply, loop. Standard library and cryptography only."""
