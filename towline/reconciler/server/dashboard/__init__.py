"""The pages for people under /admin/edge/ota."""

PATH = "/admin/edge/ota"
"""Where it is served."""
