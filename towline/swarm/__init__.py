"""Simulated devices in few processes: the agent's protocol and decisions, without its disk."""
