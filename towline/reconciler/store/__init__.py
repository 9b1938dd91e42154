"""All SQL: tables, statements and migrations, one metadata for SQLite and Postgres."""
