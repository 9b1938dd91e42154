"""Towline: software rollouts to fleets of Linux devices as pull requests."""

__version__ = "0.1.0"
