"""First-party plugin: report templates."""
