"""What notes each change of a device that may decide whether it gets a release."""

_DEVICE = "label_set_id, state, device_type, slug, organization"
_PART = "version_id, sha256, rollback_index, known_bad, pin_sha256, pin_revision"
_NOTED = (
    "INSERT INTO dirty_devices (device_seq, change)"
    " VALUES ({seq}, coalesce((SELECT max(change) FROM dirty_devices), 0) + 1)"
    " ON CONFLICT (device_seq) DO UPDATE SET change = excluded.change"
)

_EVENTS = (
    ("device_enrolled", "AFTER INSERT ON edge_devices", "NEW.seq"),
    ("device_changed", f"AFTER UPDATE OF {_DEVICE} ON edge_devices", "NEW.seq"),
    ("part_added", "AFTER INSERT ON device_components", "NEW.device_seq"),
    ("part_changed", f"AFTER UPDATE OF {_PART} ON device_components", "NEW.device_seq"),
)
NAMES = tuple(name for name, _, _ in _EVENTS)

SQLITE = tuple(
    f"CREATE TRIGGER {name} {when} BEGIN {_NOTED.format(seq=seq)}; END"
    for name, when, seq in _EVENTS
)

POSTGRES = tuple(
    statement
    for name, when, seq in _EVENTS
    for statement in (
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN {_NOTED.format(seq=seq)}; RETURN NULL; END $$",
        f"CREATE TRIGGER {name} {when} FOR EACH ROW EXECUTE FUNCTION {name}()",
    )
)
