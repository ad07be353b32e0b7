"""Digestry: a self-hosted OCI registry. Floors from top to bottom are drawn in docs/architecture.md."""
