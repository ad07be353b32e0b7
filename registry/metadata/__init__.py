"""The database: tables, and plain query functions that take a connection first and never commit."""
