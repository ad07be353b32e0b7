"""The command `digestry`."""
