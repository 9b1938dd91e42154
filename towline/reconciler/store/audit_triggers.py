"""What keeps the audit as it was written: the store itself refuses to change or remove a row.

Whoever owns the database can still drop these; that the record is whole is for a chain to show.
"""

SQLITE = (
    """CREATE TRIGGER audit_keeps_on_update BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END""",
    """CREATE TRIGGER audit_keeps_on_delete BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END""",
    # INSERT OR REPLACE removes a row without asking the trigger of DELETE.
    """CREATE TRIGGER audit_keeps_on_insert BEFORE INSERT ON audit
WHEN NEW.id IN (SELECT id FROM audit)
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END""",
)

SQLITE_BY_NUMBER = (
    # Nor does it ask for one that has the same number.
    """CREATE TRIGGER audit_keeps_numbers_on_insert BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE organization = NEW.organization AND number = NEW.number)
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END""",
)
"""From the schema on in which each act has a number of its own."""

POSTGRES = (
    """CREATE FUNCTION audit_keeps() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit is append-only'; END $$""",
    """CREATE TRIGGER audit_keeps BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
FOR EACH STATEMENT EXECUTE FUNCTION audit_keeps()""",
)
