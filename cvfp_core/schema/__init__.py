"""What a run is, and the folder that keeps it: frozen values, no statistics."""
