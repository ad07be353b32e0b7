"""Where bytes live: digests, the contract of a blob store, and the stores. Knows nothing of repositories."""
