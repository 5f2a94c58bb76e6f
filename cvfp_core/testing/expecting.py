"""How a check says what it found."""

from __future__ import annotations

from cvfp_core.errors import CvfpError


def expect(holds: bool, checked: str, expected: str, found: object) -> None:
    """Raises AssertionError with one sentence unless the condition holds."""
    if not holds:
        raise AssertionError(f"{checked}: expected {expected}, found {found}")


def raised(checked: str, error: BaseException) -> AssertionError:
    """What a check raises for an exception where there must be none: the first, as text and as its cause."""
    what = str(error) if isinstance(error, CvfpError) else f"{type(error).__name__}: {error}"
    made = AssertionError(f"{checked}: expected no exception, found {' '.join(what.split())}")
    made.__cause__ = error
    return made
