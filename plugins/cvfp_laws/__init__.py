"""First-party plugin: laws."""
