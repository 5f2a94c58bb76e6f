"""First-party plugin: local."""
