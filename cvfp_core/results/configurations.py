"""A forecast of a configuration nobody trained: the model it rests on, and what each covariate is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rich.text import Text

from cvfp_core.claims import inference, prediction
from cvfp_core.claims.prediction import MARGIN
from cvfp_core.errors import UsageError
from cvfp_core.fitting import Prediction, mixed
from cvfp_core.fitting.auto import At
from cvfp_core.fitting.linear import t_quantile
from cvfp_core.fitting.points import gather, refusal
from cvfp_core.registry.kinds import Quantity
from cvfp_core.results.numbers import interval, short
from cvfp_core.results.printed import Block, table
from cvfp_core.results.runs import Asked
from cvfp_core.schema import series
from cvfp_core.schema.fits import Points, Reason
from cvfp_core.schema.plain import AsDict


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth(AsDict):
    """What a covariate is worth: how much better configurations left out are predicted with it than without it."""

    covariate: str
    unit: str
    """What the effect is of: `val_er, per point`, `log context_dim, per unit`."""
    effect: float
    """On the log of the response."""
    low: float
    """Its 95 % interval: jackknife over configurations."""
    high: float
    without: float
    """Mean absolute relative error of configurations left out, without it."""
    change: float
    """Mean change of that error by it, over configurations; negative: it helps."""
    change_low: float | None
    change_high: float | None
    margin: float
    """Changes up to this do not matter."""
    p_value: float | None
    """Of the test the verdict rests on."""
    verdict: str
    """`helps`, `harms`, `adds nothing that matters`, or `inconclusive`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration(AsDict):
    """The model of the configurations that were trained, from which a new one is predicted."""

    new: Mapping[str, float]
    """The covariates of the new configuration."""
    configurations: tuple[str, ...]
    runs: int
    size: str
    response: str
    degree: int
    """1: straight in the logarithm of the size; 2: curved."""
    between: float
    """Standard deviation between configurations, of the log of the response."""
    within: float
    """The same of runs within a configuration."""
    error: float
    """Mean absolute relative error of the runs of a configuration left out."""
    kept: float
    """Share of the covariates' effects that the prediction uses."""
    worth: tuple[Worth, ...]
    left_out: tuple[str, ...]
    """Runs that were not fitted, counted, in words."""
    notes: tuple[str, ...]
    """At which size the covariates are taken."""


def predicted(asked: Asked, new: Mapping[str, Any], at: At, margin: float = MARGIN
              ) -> tuple[tuple[Prediction, ...], Configuration]:
    """What a configuration with these covariates will be at these sizes, from all configurations that were trained.

    Raises UsageError for covariates that no run has, values out of range, and runs that cannot tell.
    """
    size, response = asked.x or "train_tokens", asked.y or "val_ppl"
    covariates = {name: _value(asked.runs.registry.quantity(name), given) for name, given in new.items()}
    if taken := [name for name in covariates if name in (size, response)]:
        raise UsageError(f"--new {taken[0]}: that is what the forecast is {'at' if taken[0] == size else 'of'}; --new "
                         f"takes what Phase 1 or the design says of the configuration, such as --new val_er=0.81")
    if not np.isfinite(margin) or margin <= 0:
        raise UsageError(f"--margin must be a change of the error above 0, such as 0.01, not {margin}")
    asked.require((size, response, *covariates), "a new configuration")
    model = mixed.fit(_points(asked, (size, *covariates), response))
    predictions = tuple(model.predict({size: each, **covariates}) for each in _sizes(at, model))
    return predictions, Configuration(
        new=covariates, configurations=model.labels, runs=model.points.n, size=size, response=response,
        degree=model.degree, between=float(np.sqrt(model.variance * model.ratio)),
        within=float(np.sqrt(model.variance)), error=model.left_out, kept=model.kept, worth=_worth(model, margin),
        left_out=model.points.left_out, notes=tuple(_drift(model, name) for name in covariates))


def blocks(made: Configuration) -> Iterator[Block]:
    """How well configurations left out are predicted, and a table of what each covariate is worth."""
    yield Text.assemble(
        (mixed.NAME, "bold"), f": mixed model over {len(made.configurations)} configurations, {made.runs} runs, "
        f"{'curved' if made.degree == 2 else 'straight'} in log {made.size}; each left out is predicted to ",
        (f"{made.error:.1%}", "bold"))
    if made.worth:
        columns = table([("covariate", "l"), ("effect", "r"), ("95 %", "l"), ("error without", "r"), ("change", "r"),
                         ("95 %", "l")])
        columns.columns[0].no_wrap = False
        for each in made.worth:
            ends = [_points_of(end) for end in (each.change_low, each.change_high) if end is not None]
            columns.add_row(each.unit, short(each.effect),
                            interval(each.low, each.high, method="", value=each.effect), f"{each.without:.2%}",
                            _points_of(each.change), f"[{', '.join(ends)}]" if ends else "-")
        yield columns
        for each in made.worth:
            yield Text.assemble(f"{each.covariate}: ", (each.verdict, "bold" if each.verdict == "helps" else ""))
        yield Text(f"effect: on log {made.response}; the forecast uses {made.kept:.0%} of it, the rest is what "
                   "chance adds. change: of the left-out error, in points; up to "
                   f"{100 * made.worth[0].margin:g} do not matter", style="dim")
    for text in (*made.notes, *([f"left out: {', '.join(made.left_out)}"] if made.left_out else [])):
        yield Text(text, style="dim")


def _points_of(change: float) -> str:
    """Percentage points, with their sign."""
    return f"{100 * change:+.2f}"


def _value(quantity: Quantity, given: Any) -> float:
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = float("nan")
    if not quantity.allows(value):
        raise UsageError(f"--new {quantity.name} must {quantity.range or 'be a number'}, not {given}")
    if quantity.kind == "size" and value <= 0:
        raise UsageError(f"--new {quantity.name} must be above 0, as its logarithm is taken, not {given}")
    return value


def _points(asked: Asked, inputs: tuple[str, ...], response: str) -> Points:
    """The runs that have all of these, by configuration. Raises UsageError where they cannot tell, with the remedy."""
    records = asked.runs.records
    studied = series.without_controls(records)
    points = gather(studied, inputs, response, asked.by or ("variant",), asked.runs.registry.items(Quantity))
    if studied.height < records.height:
        points = replace(points, left_out=(*points.left_out, f"{records.height - studied.height} of controls"))
    sound = refusal(points, least=1, what="runs")
    reason = sound[1] if sound else mixed.refused(points)
    if reason is not None:
        left_out = f" (left out: {', '.join(points.left_out)})" if points.left_out and not sound else ""
        raise UsageError(f"a new configuration cannot be predicted: {reason}{left_out}")
    return points


def _sizes(at: At, model: mixed.Mixed) -> list[float]:
    """The sizes asked for, multiples of the largest filled in."""
    size, largest = model.size, model.points.ranges[model.size][1]
    given = at if isinstance(at, Mapping) else {"train_tokens": at}
    if list(given) != [size]:
        strange = next((name for name in given if name != size), None)
        what = "nothing" if strange is None else f"--at {strange}"
        hint = f"; a covariate is given by --new {strange}=VALUE" if strange is not None else ""
        raise UsageError(f"a new configuration is predicted at --at {size}=VALUE, found {what}{hint}")
    several = given[size]
    made = []
    for each in several if isinstance(several, list | tuple | np.ndarray) else [several]:
        try:
            value = float(each[:-1]) * largest if isinstance(each, str) and each.endswith("x") else float(each)
        except (TypeError, ValueError):
            value = float("nan")
        if not np.isfinite(value) or value <= 0:
            raise UsageError(f"{size} must be a positive number, or times the largest as in 10x, not {each}")
        made.append(value)
    return made


def _worth(model: mixed.Mixed, margin: float) -> tuple[Worth, ...]:
    """Each covariate, with the errors of configurations left out against those of the model without it."""
    effects, errors = model.effects
    half = t_quantile(len(model.labels) - 1) * errors
    made = []
    for index, name in enumerate(model.covariates, start=1 + model.degree):
        inputs = {other: values for other, values in model.points.inputs.items() if other != name}
        without = mixed.fit(replace(model.points, inputs=inputs), model.degree)
        change = inference.mean(model.by_configuration - without.by_configuration)
        assert change.estimate is not None
        verdict, p_value = prediction.verdict(change, margin)
        quantity = model.points.quantity(name)
        unit, scale = (f"log {name}, per unit", 1.0) if quantity.kind == "size" else \
            (f"{name}, per point", 0.01) if quantity.percent else (f"{name}, per unit", 1.0)
        effect, end = scale * float(effects[index]), scale * float(half[index])
        made.append(Worth(
            covariate=name, unit=unit, effect=effect, low=effect - end, high=effect + end, without=without.left_out,
            change=change.estimate, change_low=change.low, change_high=change.high, margin=margin, p_value=p_value,
            verdict=verdict))
    return tuple(made)


def _drift(model: mixed.Mixed, name: str) -> str:
    """At which size the covariate is taken, and how much that matters."""
    values, labels = model.points.inputs[name], model.points.series.astype(str)
    drift = max(float(np.ptp(values[labels == label])) for label in model.labels)
    if drift == 0:
        return Reason("{name} is one number in each configuration", name=name)
    return Reason("{name} is taken at the size asked for, as each run's is at its own; over the runs of one "
                  "configuration it differs by up to {drift:.3g}", name=name, drift=drift)
