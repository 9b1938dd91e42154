"""The control plane: observe, decide, apply, loop."""

import sys

if "structlog" not in sys.modules:
    # structlog takes these in wherever it finds them, for tracebacks in colour and for a way of
    # logging that is not used here: 5 MB of each server.
    kept = {name: sys.modules.get(name) for name in ("rich", "greenlet")}
    sys.modules.update(dict.fromkeys(kept))  # type: ignore[arg-type]
    import structlog  # noqa: F401

    for name, module in kept.items():
        del sys.modules[name]
        if module is not None:
            sys.modules[name] = module
    del kept, name, module
