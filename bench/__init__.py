"""Speed and memory of Digestry and of other registries under the same load."""
