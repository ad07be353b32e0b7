"""The administrative API under `/api/v1/`: one table of operations, one file a noun."""
