"""The command line: parse, call, print. Flows that join several rooms live here."""
