"""First-party plugin: corpora."""
