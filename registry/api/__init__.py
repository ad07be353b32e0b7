"""The OCI distribution API: one dispatcher, one table of routes, one file a noun."""
