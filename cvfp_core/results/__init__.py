"""What Python users get back: runs, fits and forecasts as frozen values that print as tables."""
