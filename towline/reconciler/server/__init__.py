"""HTTP: the devices' hot path as raw ASGI, the admin API and the pages behind it."""
