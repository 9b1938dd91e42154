"""The API described: an OpenAPI 3.1 document with an example of every call, and a page of it."""
