"""The pages for people under /admin/edge/ota."""
