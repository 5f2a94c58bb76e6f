"""The version, below all that states it: records, reports, the packages that are begun."""

__version__ = "0.1.0"
