"""Runs made elsewhere, read: one ingester a path, every line accounted for, each content once."""
