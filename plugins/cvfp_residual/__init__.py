"""First-party plugin: residual."""
