"""A run file -> the cells of a grid -> records in a store."""
