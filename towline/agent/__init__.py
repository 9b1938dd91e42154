"""The device: observe, decide, apply, loop. Standard library, requests and cryptography only."""
