"""The two-phase protocol: a cell in, a record and curves out. The only part of the core that imports torch."""
