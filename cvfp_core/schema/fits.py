"""What is fitted and what comes out: points, estimates, fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np

from cvfp_core.schema import quantities
from cvfp_core.schema.plain import AsDict
from cvfp_core.schema.quantities import Quantity

Array = np.ndarray
Status = Literal[
    "converged", "at a bound", "not identifiable", "no interval", "local optimum", "too few points", "rises", "falls",
    "bad data", "failed",
]
"""How a fit ended. `no interval`: as many points as parameters; only a curve through them. `local optimum`: searched
from many starts in no box, so that there may be a better one."""


class Reason(str):
    """A text that remembers the message it was made from, so that a report can say it in another language.

    `Reason("{n} sizes, needs {least}", n=2, least=3)` is the text `2 sizes, needs 3`. A value may be a reason
    itself, or texts in a tuple.
    """

    message: str
    values: Mapping[str, Any]

    def __new__(cls, message: str, **values: str | float | Sequence[str]) -> Reason:
        words = {name: ", ".join(each) if isinstance(each, tuple) else each for name, each in values.items()}
        made = super().__new__(cls, message.format(**words) if values else message)
        made.message, made.values = message, values
        return made


def message_of(reason: str) -> dict[str, Any]:
    """The reason as plain data: a message as `text`, and the `values` of its places."""
    if not isinstance(reason, Reason):
        return {"text": "{reason}", "values": {"reason": reason}}
    return {"text": reason.message, "values": {
        name: message_of(each) if isinstance(each, Reason) else list(each) if isinstance(each, tuple) else each
        for name, each in reason.values.items()
    }}


MARKS = {
    "†": "cut short: " + quantities.QUANTITIES["phase2_censored"].meaning,
    "‡": "no lower PPL than the unigram model: nothing of the order of tokens was learned, however straight the line",
    "§": "a control, whose Phase 1 was not trained; the report tests, seed by seed, whether training beats it",
}
"""Marks of runs that limit a law fitted to them, and what each says."""
DOUBTS = {"‡": "{count} of {n} runs have no lower Val PPL than the unigram model",
          "§": "{count} of {n} runs are controls, whose Phase 1 was not trained"}
"""What a fit says of its runs that bear a mark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One number with its 95 % interval.

    A limit that is None: unbounded on that side, or, if `method` is None too, there is no interval.
    """

    name: str
    """Of the parameter."""
    value: float | None
    """None where the fit gave none."""
    low: float | None = None
    """Lower end of the interval."""
    high: float | None = None
    """Upper end."""
    stderr: float | None = None
    """Standard error."""
    method: str | None = None
    """Where the interval comes from: `t`, `profile F`, `robust profile`, `bootstrap`..."""
    unit: str = ""
    """Empty for a plain number; `fraction`; `per point`..."""
    note: str = ""
    """What else is to be said of it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Points:
    """The measured values a law is fitted to, one entry a run, by series, ordered by the inputs."""

    inputs: Mapping[str, Array]
    """(n,) float64 each, by column."""
    response: Array
    """(n,) float64."""
    series: Array
    """(n,) strings, `experiment:variant`."""
    name: str = "val_ppl"
    """The quantity the response is."""
    left_out: tuple[str, ...] = ()
    """What was not fitted, counted, in words: `2 diverged`, `3 earlier checkpoints`."""
    declared: Mapping[str, Quantity] = field(default_factory=dict)
    """What is known of the response and the inputs."""
    censored: Mapping[str, Array] = field(default_factory=dict)
    """(n,) by the quantity that says so, such as `phase2_censored`: which runs were cut short."""
    doubtful: Mapping[str, Array] = field(default_factory=dict)
    """(n,) by mark of `MARKS`: which runs are of that kind."""
    weights: Array | None = None
    """(n,) of the runs in what is minimised, 1 on average; None: all alike."""
    caution: str = ""
    """What every fit to them must say: `unique_tokens differ from train_tokens in 3 of 9 runs, ...`."""

    def quantity(self, name: str) -> Quantity:
        """What is known of the response or an input."""
        return self.declared.get(name) or quantities.of(name)

    @property
    def n(self) -> int:
        return len(self.response)

    @property
    def sizes(self) -> Array:
        """Distinct values of the first input, ascending."""
        return np.unique(next(iter(self.inputs.values())))

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Smallest and largest value of each input."""
        return {name: (float(values.min()), float(values.max())) for name, values in self.inputs.items()} \
            if self.n else {}

    @property
    def label(self) -> str:
        """The series, or how many."""
        labels = list(dict.fromkeys(str(label) for label in self.series))
        return labels[0] if len(labels) == 1 else f"{len(labels)} series"

    def over(self, names: Sequence[str]) -> Points:
        """The same runs as points of some of the inputs, ordered by those."""
        order = np.lexsort([self.inputs[name] for name in reversed(names)])
        ordered = self.take(order)
        return replace(ordered, inputs={name: ordered.inputs[name] for name in names})

    def followed_by(self, other: Points) -> Points:
        """These points and then others of the same quantities."""
        def both(mine: Mapping[str, Array], theirs: Mapping[str, Array]) -> dict[str, Array]:
            none, no_other = np.zeros(self.n, bool), np.zeros(other.n, bool)
            return {name: np.concatenate([mine.get(name, none), theirs.get(name, no_other)])
                    for name in {**mine, **theirs}}

        return replace(
            self, inputs={name: np.concatenate([values, other.inputs[name]]) for name, values in self.inputs.items()},
            response=np.concatenate([self.response, other.response]),
            series=np.concatenate([self.series, other.series]),
            censored=both(self.censored, other.censored), doubtful=both(self.doubtful, other.doubtful),
            weights=None if self.weights is None or other.weights is None
            else np.concatenate([self.weights, other.weights]))

    def take(self, mask: Array) -> Points:
        """The points where the mask is true, or those of these indices."""
        return Points(
            inputs={name: values[mask] for name, values in self.inputs.items()},
            response=self.response[mask], series=self.series[mask], name=self.name, left_out=self.left_out,
            declared=self.declared, censored={name: cut[mask] for name, cut in self.censored.items()},
            doubtful={name: which[mask] for name, which in self.doubtful.items()},
            weights=None if self.weights is None else self.weights[mask], caution=self.caution,
        )

    @property
    def caveats(self) -> tuple[str, ...]:
        """What limits whatever is fitted to them: how many runs were cut short, or show nothing learned."""
        cut_short = [Reason("{count} of {n} runs cut short: {why}", count=int(cut.sum()), n=self.n,
                            why=self.quantity(name).meaning) for name, cut in self.censored.items() if cut.any()]
        return (*cut_short, *(Reason(DOUBTS[mark], count=int(which.sum()), n=self.n)
                              for mark, which in self.doubtful.items() if which.any()))

    @property
    def marks(self) -> str:
        """The marks of `MARKS` that some of the runs bear."""
        borne = {mark for mark, which in self.doubtful.items() if which.any()}
        borne |= {"†" for cut in self.censored.values() if cut.any()}
        return "".join(mark for mark in MARKS if mark in borne)


class Solver(Protocol):
    """What made a fit and knows its function."""

    def predict(self, fit: Fit, at: Mapping[str, float]) -> Any:
        """What the fitted law says at the inputs."""
        ...

    def to_lmfit(self, fit: Fit) -> Any:
        """The fit as lmfit's `ModelResult`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit(AsDict):
    """One law fitted to one series or set of records. A fit that failed is one too: a status with a reason."""

    law: str = ""
    """Its name."""
    form: str = ""
    """As people write it: `PPL = A * tokens^alpha`."""
    series: str = ""
    """`experiment:variant`, or what the points have in common."""
    status: Status
    """`converged`, or why not."""
    reason: str = ""
    """Why the status is not `converged`, with the parameter and the remedy; or a caution."""
    estimates: tuple[Estimate, ...] = ()
    """Of its parameters."""
    inputs: tuple[str, ...] = ()
    """The quantities it is a function of."""
    response: str = "val_ppl"
    """The quantity it explains."""
    space: Literal["log", "raw"] = "log"
    """Where residuals are taken."""
    loss: str = "least squares"
    """What was minimised."""
    minimum: float | None = None
    """Its value: half the sum of squares, or the sum of Huber losses."""
    floor: str | None = None
    """The parameter that is the limit at infinite data."""
    n: int = 0
    """Runs fitted."""
    sizes: int = 0
    """Distinct sizes among them."""
    dof: int = 0
    """Degrees of freedom of the residual variance the intervals are made with."""
    rss: float | None = None
    """Residual sum of squares."""
    sigma: float | None = None
    """Residual standard deviation of one run, in the residual space."""
    r_squared: float | None = None
    """Share of variance explained."""
    p_value: float | None = None
    """Of the law's main parameter, where there is a test."""
    aicc: float | None = None
    """Corrected Akaike criterion."""
    lack_of_fit_p: float | None = None
    """Of the scatter of size means about the law against that of seeds; None without repeats."""
    fitted_range: tuple[float, float] | None = None
    """Smallest and largest value of the first input."""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Smallest and largest value of each input."""
    left_out: tuple[str, ...] = ()
    """What was not fitted, counted, in words."""
    caveats: tuple[str, ...] = ()
    """What limits the runs that were fitted: `4 of 4 runs cut short: ...`."""
    points: Points | None = field(default=None, repr=False)
    draws: Array | None = field(default=None, repr=False)
    """(resamples, parameters) of the bootstrap, where standard errors come from one."""
    basis: Any = field(default=None, repr=False)
    """What its intervals were made from, so that a forecast's are made from the same. Of a surface whose inputs vary
    together: the fit of the curve along them."""
    solver: Solver | None = field(default=None, repr=False)

    def estimate(self, name: str) -> Estimate:
        """The estimate of that name. Raises KeyError naming those there are."""
        for estimate in self.estimates:
            if estimate.name == name:
                return estimate
        raise KeyError(f"fit of '{self.law}' has no '{name}'; it has {[e.name for e in self.estimates]}")

    def value(self, name: str) -> float | None:
        """The value of that name, None where the fit has none."""
        return next((estimate.value for estimate in self.estimates if estimate.name == name), None)

    def predict(self, **at: float) -> Any:
        """What the fitted law says at the inputs, with 95 % intervals: `fit.predict(train_tokens=1e9).value`.

        Raises KeyError naming the inputs it needs, ValueError where the fit has no function.
        """
        if self.solver is None:
            raise ValueError(f"fit of '{self.law}' has no function, so it does not predict")
        missing = [name for name in self.inputs if name not in at]
        if missing:
            raise KeyError(f"fit of '{self.law}' needs {', '.join(self.inputs)}; not given: {', '.join(missing)}")
        return self.solver.predict(self, at)

    def to_lmfit(self) -> Any:
        """The fit as lmfit's `ModelResult`: its report, covariance, correlations and plots."""
        if self.solver is None:
            raise ValueError(f"fit of '{self.law}' has no function, so there is no lmfit model of it")
        return self.solver.to_lmfit(self)

    @property
    def marks(self) -> str:
        """The marks of `MARKS` that some of the runs fitted bear."""
        return "" if self.points is None else self.points.marks

    @property
    def trendless(self) -> bool:
        """Whether the interval of its exponent holds 0, so that no trend was found."""
        ends = next(((each.low, each.high) for each in self.estimates if each.name == "alpha"), (None, None))
        return ends[0] is not None and ends[1] is not None and ends[0] < 0 < ends[1]

    @property
    def usable(self) -> bool:
        """Whether the law's parameters have values, so that it can be drawn and predict."""
        return bool(self.estimates) and all(estimate.value is not None for estimate in self.estimates)
