"""Numbers as the scripts print them."""

from __future__ import annotations


def number(text: str) -> float:
    """The number as printed: thousands commas, nan, inf, a percent sign. Raises ValueError."""
    if text.endswith("%"):
        return percent(text)
    return float(text.replace(",", ""))


def count(text: str) -> int:
    """The whole number as printed. Raises ValueError, also for more digits than any count has."""
    plain = text.replace(",", "")
    if len(plain) > 18:
        raise ValueError(text)
    return int(plain)


def percent(text: str) -> float:
    """A percentage as a fraction, free of the noise that dividing adds: 81.3 is 0.813."""
    return round(float(text.rstrip("%")) / 100, 12)
