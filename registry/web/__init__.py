"""HTTP plumbing that all faces of the registry share."""
