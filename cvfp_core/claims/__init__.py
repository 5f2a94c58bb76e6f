"""What may be said of runs: estimates with intervals, verdicts, findings, decisions."""
