"""The check of a fitter: on data of its own law, without and with noise, in other units, and on data no law fits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from cvfp_core.errors import UsageError
from cvfp_core.fitting.axes import filled
from cvfp_core.fitting.run import find, fit_all, option_values
from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import Fitter
from cvfp_core.schema.fits import Array, Fit
from cvfp_core.schema.settings import Scalar
from cvfp_core.testing.expecting import expect, raised
from cvfp_core.testing.loading import holding

SIZES = np.geomspace(1e4, 1e7, 12)
UNIT = 1000.0
"""By which the first input is divided to have it in another unit."""
CHANCE = 1e-3
"""How likely a right fitter fails for want of luck; the data are the same each time, so it does so never or always."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What `check_fitter` was given."""

    parameters: Mapping[str, float]
    inputs: Mapping[str, Sequence[float]] | None
    variants: Sequence[str] | None
    law: Callable[..., Any] | None
    expected: Mapping[str, float] | None
    unit_free: Collection[str]
    options: Mapping[str, Scalar | None]
    noise: float
    data_sets: int
    tolerance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """The fitter under test with its data, and what its code raised."""

    fitter: Fitter
    registry: Registry
    options: Mapping[str, Scalar | None]
    inputs: Mapping[str, Array]
    """(n,) by record column."""
    response: Array
    """(n,) of the law, without noise."""
    column: str
    """That of the response."""
    variants: Sequence[str] | None
    """Of each run."""
    errors: list[Exception] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"law '{self.fitter.name}'"

    def fit(self, response: Array, inputs: Mapping[str, Array] | None = None) -> list[Fit]:
        """The fits to runs with these inputs and responses, NaN for a value not measured."""
        inputs = self.inputs if inputs is None else inputs
        count = len(response)
        variants = list(self.variants or ["made"] * count)[:count]
        records = pl.DataFrame({
            "run_id": [f"run-{i}" for i in range(count)], "experiment": ["kit"] * count, "variant": variants,
            "seed": list(range(count)), "status": ["ok"] * count, **inputs, self.column: response,
        }, schema_overrides={"run_id": pl.String, "experiment": pl.String, "variant": pl.String, "status": pl.String})
        return fit_all(records, [self.fitter.name], options=self.options, registry=self.registry)

    def noisy(self, noise: float, seed: int) -> Array:
        """The response with multiplicative normal noise."""
        return self.response * np.exp(noise * np.random.default_rng(seed).standard_normal(len(self.response)))


def check(fitter: Fitter, example: Example) -> None:
    """See `check_fitter`."""
    subject = _subject(fitter, example)
    truth = example.expected if example.expected is not None else example.parameters
    _recovers(subject, truth, example.tolerance)
    _covers(subject, truth, example)
    _any_unit(subject, example)
    _refuses(subject, example.noise)


def _subject(fitter: Fitter, example: Example) -> _Subject:
    shaped = filled(find(fitter, holding(fitter)), option_values(fitter, example.options))
    names, response = shaped.inputs, shaped.response
    given = example.inputs
    if given is None:
        given = {"train_tokens": SIZES.tolist()} if names == ("train_tokens",) else {}
    if set(given) != set(names):
        raise UsageError(f"law '{fitter.name}' is a law of {', '.join(names)}: give inputs for these columns")
    inputs = {name: np.asarray(given[name], dtype=float) for name in names}
    law = example.law or shaped.function
    if law is None:
        raise UsageError(f"law '{fitter.name}' has no function: give law=, which makes the data it is to recover")
    made = np.broadcast_to(np.asarray(law(**inputs, **example.parameters), dtype=float), len(inputs[names[0]])).copy()
    if not (np.isfinite(made).all() and (made > 0).all()):
        raise UsageError(f"the law is not positive and finite at {dict(example.parameters)}: give other parameters")
    errors: list[Exception] = []
    watched = replace(fitter, fit=_watched(fitter.fit, errors), function=_watched(fitter.function, errors),
                      starts=_watched(fitter.starts, errors))
    return _Subject(fitter=fitter, registry=holding(watched), options=example.options, inputs=inputs, response=made,
                    column=response, variants=example.variants, errors=errors)


def _watched(code: Callable[..., Any] | None, errors: list[Exception]) -> Callable[..., Any] | None:
    """The code, noting what it raises."""
    if code is None:
        return None

    def call(*args: Any, **named: Any) -> Any:
        try:
            return code(*args, **named)
        except Exception as error:
            errors.append(error)
            raise

    return call


def _recovers(subject: _Subject, truth: Mapping[str, float], tolerance: float) -> None:
    what = f"{subject.name}, data of its own law without noise"
    fits = _fitted(subject, what, subject.fit(subject.response))
    for name, value in truth.items():
        found = _estimates(fits, name, what)
        near = all(abs(each - value) <= tolerance * abs(value) + 1e-3 * tolerance for each in found)
        expect(near, f"{what}: {name}", f"{value:g} within {tolerance:g} of it", ", ".join(f"{v:g}" for v in found))


def _covers(subject: _Subject, truth: Mapping[str, float], example: Example) -> None:
    what = f"{subject.name}, {example.data_sets} data sets with noise {example.noise:g}"
    held = dict.fromkeys(truth, 0)
    for seed in range(example.data_sets):
        fits = _fitted(subject, what, subject.fit(subject.noisy(example.noise, seed)))
        for name, value in truth.items():
            held[name] += all(_contains(fit, name, value, what) for fit in fits if fit.value(name) is not None)
    least = int(stats.binom.ppf(CHANCE, example.data_sets, 0.95))
    for name, count in held.items():
        expect(count >= least, f"{what}: 95 % intervals of {name} that contain {truth[name]:g}", f"at least {least}",
               count)


def _contains(fit: Fit, name: str, value: float, what: str) -> bool:
    estimate = fit.estimate(name)
    expect(estimate.method is not None, f"{what}: {name}", "an interval, with the method it comes from", estimate)
    low, high = estimate.low, estimate.high
    return (low is None or low <= value) and (high is None or value <= high)


def _any_unit(subject: _Subject, example: Example) -> None:
    first = next(iter(subject.inputs))
    what = f"{subject.name}, {first} in thousands"
    response = subject.noisy(example.noise, 0)
    plain = _fitted(subject, what, subject.fit(response))
    other = _fitted(subject, what, subject.fit(response, {**subject.inputs, first: subject.inputs[first] / UNIT}))
    expect(bool(example.unit_free) or any(fit.rss is not None for fit in plain), what, "something to compare: an rss, "
           "or names of estimates in unit_free", "neither")
    for one, two in zip(plain, other, strict=True):
        expect(one.status == two.status, f"{what}: status", one.status, f"{two.status} ({two.reason})")
        pairs = [("rss", one.rss, two.rss)]
        pairs += [(name, one.value(name), two.value(name)) for name in example.unit_free]
        pairs += [(f"{end} end of {name}", getattr(one.estimate(name), end), getattr(two.estimate(name), end))
                  for name in example.unit_free if one.value(name) is not None for end in ("low", "high")]
        for name, left, right in pairs:
            same = left is right if left is None or right is None else bool(np.isclose(left, right, rtol=1e-3))
            expect(same, f"{what}: {name}", f"{left}, as in the other unit", right)
    for name in example.unit_free:
        _estimates(plain, name, what)


def _refuses(subject: _Subject, noise: float) -> None:
    """What is no data for a law ends in a status with a reason; some of it must not even be fitted."""
    response = subject.noisy(noise, 0)
    first = next(iter(subject.inputs))

    def value(at: float) -> Array:
        """The response with its last value exchanged."""
        return np.append(response[:-1], at)

    def rows(count: int) -> tuple[Array, Mapping[str, Array]]:
        return response[:count], {name: values[:count] for name, values in subject.inputs.items()}

    nothing = np.full(len(response), np.nan)
    still = {name: np.full_like(values, values[0]) for name, values in subject.inputs.items()}
    cases: dict[str, tuple[Array, Mapping[str, Array], bool]] = {
        "no runs": (*rows(0), True),
        "1 run": (*rows(1), True),
        "fewer runs than it needs": (*rows(max(subject.fitter.least_points - 1, 1)), True),
        "as many runs as it needs": (*rows(subject.fitter.least_points), False),
        "all runs of one size": (response, still, True),
        "a constant response": (np.full_like(response, response[0]), subject.inputs, False),
        "a rising response": (1 / response, subject.inputs, False),
        "a response without order": (subject.noisy(1.0, 1), subject.inputs, False),
        "a huge response": (response * 1e12, subject.inputs, False),
        "an infinite response": (value(np.inf), subject.inputs, True),
        "a response of zero": (value(0.0), subject.inputs, True),
        "a negative response": (value(-1.0), subject.inputs, True),
        "a response not measured": (nothing, subject.inputs, True),
        "an input not measured": (response, {**subject.inputs, first: nothing}, True),
        "half the responses not measured": (np.where(np.arange(len(response)) % 2, response, np.nan), subject.inputs,
                                            False),
    }
    for name, (values, inputs, refused) in cases.items():
        what = f"{subject.name}, {name}"
        for fit in _sound(subject, what, subject.fit(values, inputs)):
            expect(not refused or fit.status != "converged", what, "another status than converged", fit.status)


def _fitted(subject: _Subject, what: str, fits: list[Fit]) -> list[Fit]:
    """The fits, of which every one must have come to something."""
    for fit in _sound(subject, what, fits):
        expect(fit.usable, what, "estimates", f"status '{fit.status}': {fit.reason}")
    return fits


def _sound(subject: _Subject, what: str, fits: list[Fit]) -> list[Fit]:
    """The fits; their numbers must be finite and a status other than converged must say why."""
    if subject.errors:
        raise raised(what, subject.errors[0]) from subject.errors[0]
    for fit in fits:
        expect(fit.status == "converged" or bool(fit.reason), f"{what}: status '{fit.status}'", "a reason", "none")
        numbers = {name: getattr(fit, name) for name in ("rss", "sigma", "r_squared", "p_value", "aicc")}
        numbers |= {each.name: each.value for each in fit.estimates}
        bad = {name: number for name, number in numbers.items() if number is not None and not isfinite(number)}
        expect(not bad, what, "finite numbers, or None", bad)
    return fits


def _estimates(fits: Sequence[Fit], name: str, what: str) -> list[float]:
    found = [value for fit in fits if (value := fit.value(name)) is not None]
    known = dict.fromkeys(each.name for fit in fits for each in fit.estimates)
    expect(bool(found), f"{what}: estimate '{name}'", "one of that name", f"only {', '.join(known) or 'none'}")
    return found
