"""What engineers write: YAML in git, read strictly into frozen Deployments.

Imports `schemas` only; knows nothing of devices' reports, of the store or of HTTP.
"""
