"""Forecasts: what each series will be at other inputs, as a value that prints as tables."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.table import Table
from rich.text import Text

from cvfp_core import fitting
from cvfp_core.claims.prediction import MARGIN
from cvfp_core.errors import CvfpWarning, UsageError, suggestion
from cvfp_core.fitting import Choice, Prediction
from cvfp_core.fitting.auto import AUTO, At
from cvfp_core.fitting.auto import candidates as curves
from cvfp_core.fitting.averages import AVERAGE
from cvfp_core.fitting.chained import STEPS, chained
from cvfp_core.fitting.mixed import NAME
from cvfp_core.fitting.points import WEIGHTS
from cvfp_core.registry.kinds import Law
from cvfp_core.reporting.numbers import p
from cvfp_core.results import configurations
from cvfp_core.results.arguments import verb
from cvfp_core.results.configurations import Configuration
from cvfp_core.results.numbers import interval, short, told
from cvfp_core.results.printed import ROWS, WIDE, Block, Listed, about, beyond, table, width
from cvfp_core.results.runs import AnyLaw, Asked, Readable, ask, listed
from cvfp_core.schema.series import SERIES
from cvfp_core.schema.settings import Scalar

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

ALONE = 300
"""Sets of sizes beyond which a forecast says how long it takes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Forecasts(Listed[Prediction]):
    """One prediction for each series and point, and the choice of law they share; None if the law was given."""

    items: tuple[Prediction, ...]
    choice: Choice | None
    asked: Asked
    given: tuple[Law, ...] = ()
    """The laws asked for; none if they were chosen from those installed."""
    configuration: Configuration | None = None
    """The model of the configurations, where the forecast is of a new one."""
    along: str | None = None
    prior: bool = True
    pool: bool = True
    """As `predict` was given them."""
    together: tuple[Text, ...] = ()
    """Lines of what the laws take together; of a curve that was asked for, none."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"choice": self.choice.as_dict() if self.choice else None,
                "predictions": [each.as_dict() for each in self.items],
                **({"configuration": self.configuration.as_dict()} if self.configuration else {})}

    @verb
    def plot(self, path: str | Path | None = None) -> Figure:
        """The points, the law that forecasts them with the band of a new run, and the forecasts; see `cvfp.plot`."""
        from cvfp_core.results.plots import draw, draw_forecasts

        if self.configuration is not None:
            raise UsageError("a forecast of a new configuration has no figure, as it has no runs; to_frame() has its "
                             "numbers")
        given = {law.name: law for law in self.given}
        name = self.choice.law if self.choice is not None else next((each.law for each in self.items), "")
        if STEPS in name or any(STEPS in each.law for each in self.items):
            raise UsageError("a forecast of two steps has no figure; plot the first one, or see to_frame()")
        law = given.get(name, name)
        if any(len(each.inputs) > 1 for each in self.items):
            return draw(self.asked.fit([law]), path, self.items)
        return draw_forecasts(self.asked.fit([law], intervals=False), self.items, self._elsewhere, path,
                              self.asked.of_series)

    def _elsewhere(self, places: Sequence[float]) -> Sequence[Prediction]:
        """What the same law says of each series at these places, with intervals where bands are drawn."""
        from cvfp_core.reporting.figures.curves import FEW

        (x,) = self.items[0].inputs
        return forecast(self.asked, {x: list(places)}, list(self.given) or AUTO, along=self.along, prior=self.prior,
                        pool=self.pool, choice=None if self.given else self.choice,
                        intervals=len({each.series for each in self.items}) <= FEW).items if places else ()

    @verb
    def then(self, law: AnyLaw) -> Forecasts:
        """What a law of the forecast quantity says of it, fitted to the same runs, with intervals of both steps.

            cvfp.predict("runs.csv", at, law="chinchilla").then("accuracy-of-loss")
        """
        second = replace(self.asked, x=None, y=None, options={})
        named = second.law(law)
        response = {each.response for each in self.items} or {""}
        if {*named.inputs} != response:
            raise UsageError(f"law '{named.name}' is a function of {', '.join(named.inputs)}, and what is forecast is "
                             f"{', '.join(response)}; name a law of that alone")
        fits = {fit.series: fit for fit in second.fit([law])}
        only = next(iter(fits.values())) if len(fits) == 1 else None
        steps = [fits.get(each.series) or only for each in self.items]
        if None in steps:
            raise UsageError(f"law '{named.name}' has a fit for {', '.join(fits)}, and not for each series forecast; "
                             "give the columns that tell series apart: --by COLUMN")
        return replace(self, items=tuple(
            chained(each, fit, named) for each, fit in zip(self.items, steps, strict=True) if fit is not None))

    def to_frame(self) -> pl.DataFrame:
        """One row a prediction: series, law, response, the inputs, value, both intervals, distances, warnings."""
        return pl.DataFrame([
            {"series": each.series, "law": each.law, "response": each.response, **each.inputs,
             **{name: getattr(each, name) for name in ("value", "mean_low", "mean_high", "run_low", "run_high")},
             **{f"distance_{name}": value for name, value in each.distances.items()},
             "reason": str(each.reason), "warnings": "; ".join(each.warnings)}
            for each in self.items
        ], infer_schema_length=None)

    def summary(self) -> str:
        """A line for each prediction: series, point, value, both intervals, and how far beyond the runs it is."""
        return "\n".join(map(_sentence, self.items))

    def blocks(self, room: int = WIDE) -> Iterator[Block]:
        """What is taken together, what is forecast where, the table, its cautions, and how the law was chosen."""
        yield from self.together
        yield from _blocks(self.items, room)
        if self.choice is not None:
            yield Text()
            yield from _of_choice(self.choice, self.items)
        if self.configuration is not None:
            yield Text()
            yield from configurations.blocks(self.configuration)


@verb
def predict(runs: Readable, at: At, law: AnyLaw | Sequence[AnyLaw] = AUTO, *, x: str | None = None,
            y: str | None = None, by: str | Sequence[str] | None = None, along: str | None = None,
            where: str | None = None, map: Mapping[str, str] | None = None, weights: str | None = None,
            options: Mapping[str, Scalar | None] | None = None, new: Mapping[str, float] | None = None,
            margin: float = MARGIN, prior: bool = True, pool: bool = True) -> Forecasts:
    """What each series will be at other inputs, with 95 % intervals of the mean and of one new run.

    runs: what `read` takes or gave. at: training tokens, or values by input. law: a name, a Law, an lmfit model,
    several to choose from, or `auto`: chosen from the runs. x, y: the columns a curve is a function of and explains.
    along: the input, or a quantity that follows from the inputs, that the back-test goes along. weights: the column of
    the runs' weights in what is minimised. new: covariates of a configuration nobody trained, such as
    `{"val_er": 0.81}`; the forecast is then of it, and `by` tells configurations apart, by default `variant`. margin:
    change of the left-out error, as a fraction, up to which a covariate adds nothing that matters. prior, pool: for
    `auto`, whether what is known of published laws counts, and whether series tell of each other.

        cvfp.predict("runs.csv", {"flops": ["10x", 1e21]}, x="flops", y="val_loss")
    """
    question = ask(runs, x=x, y=y, by=by, where=where, map=map, weights=weights, options=options)
    return forecast(question, at, law, along=along, new=new, margin=margin, prior=prior, pool=pool)


def forecast(asked: Asked, at: At, law: AnyLaw | Sequence[AnyLaw] = AUTO, *, along: str | None = None,
             new: Mapping[str, float] | None = None, margin: float = MARGIN, prior: bool = True,
             pool: bool = True, choice: Choice | None = None, intervals: bool = True) -> Forecasts:
    """The forecast of what was asked, with that law or the best of these, at these points; or of a configuration.

    law: where several inputs are given, `auto` is the law of these that is installed, or the best of several. choice:
    of `auto`, where it is known from the same runs. intervals: False where values alone are wanted.
    """
    if not (prior and pool) and (law != AUTO or new is not None or (isinstance(at, Mapping) and len(at) > 1)):
        raise UsageError(f"prior and pool are of the curves that '{AUTO}' chooses; leave them out with another law, "
                         "with --new, or at several inputs")
    if new is not None:
        other = [f"--law {law}"] * (law not in (AUTO, NAME)) + [f"--along {along}"] * (along is not None)
        other += [f"--set {name}" for name in asked.options]
        other += ["--weights"] * (WEIGHTS in asked.runs.records.columns)
        if other:
            raise UsageError(f"--new is predicted by law '{NAME}' alone, from all configurations; leave out "
                             f"{', '.join(other)}")
        predictions, configuration = configurations.predicted(asked, new, at, margin)
        return Forecasts(items=predictions, choice=None, asked=asked, configuration=configuration)
    if law == NAME or (isinstance(law, Law) and law.name == NAME):
        raise UsageError(f"law '{NAME}' predicts a configuration by its covariates; give them: --new NAME=VALUE, such "
                         "as --new val_er=0.81")
    if isinstance(at, Mapping):
        at = asked.places(at, listed(law))
    if law == AUTO and isinstance(at, Mapping) and len(at) > 1:
        law = surfaces(at, asked)
    chosen = law == AUTO
    if chosen:
        asked.require((asked.x or "train_tokens", asked.y or "val_ppl"), "the choice of a law")
        if isinstance(at, Mapping):
            _refuse_other(next(iter(at), ""), asked)
        if asked.options:
            raise UsageError(f"law '{AUTO}' takes no options, found {', '.join(asked.options)}; name a law to set them")
    given = () if chosen else tuple(asked.law(each) for each in listed(law))
    parted = asked.together(given or curves(asked.runs.registry, x=asked.x, y=asked.y))
    if chosen:
        _warn_of_sizes(asked)
    made = fitting.predict_all(asked.runs.records, at, AUTO if chosen else given, x=asked.x, y=asked.y,
                               along=along, options=asked.options, prior=prior, pool=pool, choice=choice,
                               intervals=intervals, by=parted.by[given[0].name] if given else asked.by,
                               registry=asked.runs.registry)
    return Forecasts(items=made.predictions, choice=made.choice, asked=asked, given=given, along=along, prior=prior,
                     pool=pool, together=parted.lines if chosen or len(given[0].inputs) > 1 else ())


def surfaces(at: Mapping[str, Any], asked: Asked) -> list[Law]:
    """The laws of just these inputs that are tried unasked, or all of them. Raises UsageError if there is none."""
    able = [law for law in asked.runs.registry.items(Law).values() if law.predicts and len(law.inputs) > 1]
    made = [law for law in able if set(law.inputs) == set(at)]
    made = [law for law in made if law.automatic] or made
    if not made:
        inputs = {name for law in able for name in law.inputs}
        near = next((suggestion(name, sorted(inputs)) for name in at if name not in inputs), "")
        there = "; ".join(f"{law.name} of {', '.join(law.inputs)}" for law in able if set(law.inputs) & set(at)
                          and law.automatic) or "none that is tried unasked"
        raise UsageError(f"no law is a function of {', '.join(at)}{near}; of some of these: {there}; cvfp laws lists "
                         "all")
    return made


def _refuse_other(name: str, asked: Asked) -> None:
    """Raises UsageError for a lone input that curves are not of here, if the runs have it: what to give beside it."""
    x, records = asked.x or "train_tokens", asked.runs.records
    if name == x or name not in records.columns or not records.schema[name].is_numeric() \
            or records[name].is_null().all():
        return
    law = next((law for law in asked.runs.registry.items(Law).values()
                if law.automatic and law.predicts and len(law.inputs) > 1 and name in law.inputs), None)
    both = "" if law is None or asked.x else "".join(
        f" --at {each}=VALUE" for each in law.inputs if each != name) + f" too (law {law.name}), or"
    raise UsageError(f"--at {name}: curves are of {x} unasked; give{both} --x {name} for a curve of {name}")


def _warn_of_sizes(asked: Asked) -> None:
    """Warns where very many series share no sizes, so that a law's search cannot be of many at once."""
    x, runs = asked.x or "train_tokens", asked.runs.records.filter(pl.col("status") == "ok")
    sets = runs.group_by(asked.by or SERIES).agg(pl.col(x).sort().alias("_sizes"))["_sizes"].to_list()
    if (count := len({*map(tuple, sets)})) > ALONE:
        warnings.warn(CvfpWarning(
            f"{count:,} series at sizes of their own are forecast one after the other, at a tenth of a second or more "
            "each; --where keeps some, and a law that is named, such as --law power-law, is not chosen or averaged"),
            stacklevel=2)


def place(name: str, value: float) -> str:
    """An input with its value: `train_tokens = 5,000,000`, `params = 7e9`."""
    if 1 <= value < 1e9 and value == int(value):
        return f"{name} = {value:,.0f}"
    digits, power, exponent = f"{value:.4g}".partition("e")
    return f"{name} = {digits}{power}{int(exponent) if power else ''}"


def _blocks(predictions: Sequence[Prediction], room: int) -> Iterator[Block]:
    if not predictions:
        return
    inputs = list(predictions[0].inputs)
    varied = [name for name in inputs if len({each.inputs[name] for each in predictions}) > 1]
    same = [place(name, predictions[0].inputs[name]) for name in inputs if name not in varied]
    where = [*([f"at {', '.join(same)}"] if same else []), *([f"by {', '.join(varied)}"] if varied else [])]
    yield Text.assemble((predictions[0].response, "bold"), f" {', '.join(where)}")
    shown, what = predictions[:ROWS], "forecasts" if varied else "series"
    wide, stacked = (_table(shown, varied, stacked=each) for each in (False, True))
    if width(wide) > room >= width(stacked):
        yield stacked
    elif width(wide) > room:
        longest = max(len(each.series) for each in shown) + room - width(stacked)
        yield _table(shown, varied, stacked=True, longest=max(longest, _SHORTEST))
    else:
        yield wide
    yield from beyond(len(predictions), what)
    lines = ((text, style, _named(each, varied)) for each in predictions
             for text, style in ((each.reason, "dim" if each.value is not None else "yellow"),
                                 *((warning, "yellow") for warning in each.warnings if warning not in each.reason)))
    yield from about(lines, len(predictions), what)


def _named(each: Prediction, varied: Sequence[str]) -> str:
    """Which of the predictions it is: its series, and where it is if there are several points."""
    where = ", ".join(place(name, each.inputs[name]) for name in varied)
    return f"{each.series} at {where}" if where else each.series


_SHORTEST = 12
"""Letters of a series' name in a line, at least."""


def _table(predictions: Sequence[Prediction], varied: Sequence[str], *, stacked: bool, longest: int = WIDE) -> Table:
    """A row for each prediction; stacked, for a narrow terminal: two, the law below its series, one interval a row.

    longest: letters of a series' name in a line, at most.
    """
    inputs = list(predictions[0].inputs)
    far = ["x data"] if len(inputs) == 1 else [f"x {name}" for name in inputs]
    made = table([
        *([("series / law", "l")] if stacked else [("series", "l"), ("law", "l")]), *((name, "r") for name in varied),
        (predictions[0].response, "r"),
        *([("95 %", "l"), ("", "l")] if stacked else [("95 % mean", "l"), ("95 % new run", "l")]),
        *((name, "r") for name in (["x data"] if stacked else far)),
    ])
    for index, column in enumerate(made.columns):
        column.no_wrap = index > 0 or not stacked  # a long name gives way, no number does
    for each in predictions:
        low, high = (interval(a, b, method="" if each.run_low or each.run_high else None, value=each.value) or "-"
                     for a, b in ((each.mean_low, each.mean_high), (each.run_low, each.run_high)))
        value, points = told(each), [short(each.inputs[name]) for name in varied]
        distances = [short(each.distances.get(name)) for name in inputs]
        if stacked:
            beyond = distances if len(inputs) == 1 else map(" ".join, zip(distances, inputs, strict=True))
            name = "\n".join(each.series[place:place + longest] for place in range(0, len(each.series), longest))
            made.add_row(Text.assemble(name, (f"\n  {each.law}", "dim")), *points, value,
                         Text("mean\nnew run", "dim"), f"{low}\n{high}", "\n".join(beyond))
        else:
            made.add_row(Text(each.series), each.law, *points, value, low, high, *distances)
    return made


def _of_choice(choice: Choice, predictions: Sequence[Prediction]) -> Iterator[Block]:
    """What forecasts, and what speaks for each law; where that is an average, laws stand by their weight in it."""
    candidates = choice.candidates
    several = len({each.scale for each in candidates}) > 1
    weighs = any(each.weight is not None for each in candidates)
    average = weighs and all(each.law == AVERAGE for each in predictions if each.value is not None)
    if average:
        candidates = tuple(sorted(candidates, key=lambda each: -(each.weight or 0)))
        yield Text.assemble("forecast: an ", ("average", "bold"), " of the laws by weight, as few points leave open "
                            "which it is")
    else:
        scale = f" of {choice.scale}" if several else ""
        yield Text.assemble("law: ", (choice.law, "bold"), f"{scale}, {choice.reason}")
    wider = dict.fromkeys(each.interval_law for each in predictions if each.interval_law and each.law == choice.law)
    if not average and list(wider) not in ([], [choice.law]):
        yield Text(f"intervals: the outermost ends of {'; '.join(wider).replace(' and ', ', ')}", style="dim")
    if not candidates:
        return
    count, test = ("k", "p (F)") if several else ("parameters", "F test p")
    tested = any(each.p_value is not None for each in candidates)
    made = table([("law", "l"), *[("scale", "l")] * several, (count, "r"), (choice.criterion, "r"),
                  ("back-test", "r"), *[("folds", "r")] * (not several), (test, "r"),
                  *[("weight", "r")] * weighs, ("", "l")])
    for each in candidates:
        criterion = each.aicc if choice.criterion == "AICc" else each.bic
        made.add_row(
            each.law, *[each.scale] * several, str(each.parameters), "-" if criterion is None else f"{criterion:.1f}",
            "-" if each.backtest is None else f"{each.backtest:.1%}", *[str(each.folds)] * (not several),
            "-" if each.p_value is None else p(each.p_value),
            *["-" if each.weight is None else f"{each.weight:.0%}"] * weighs,
            Text("" if average and each.verdict in ("chosen", "not distinguishable") else each.verdict,
                 style="bold" if each.verdict == "chosen" else "dim"),
        )
    yield made
    yield Text("k: parameters; " * several
               + "back-test: mean error of the next size when the law saw only the smaller ones"
               + "; weight: in the average that is forecast" * weighs
               + f"; {test}: of the F test against {choice.law}" * tested, style="dim")


def _sentence(each: Prediction) -> str:
    where = ", ".join(place(name, value) for name, value in each.inputs.items())
    head = f"{each.series}, {where}: "
    if each.value is None:
        return head + each.reason
    parts = [f"{each.response} {told(each)} by {each.law}"]
    parts += [f"{name} {interval(low, high, method='', value=each.value)}" for name, low, high in
              (("mean", each.mean_low, each.mean_high), ("new run", each.run_low, each.run_high))
              if low is not None or high is not None]
    parts += [f"{value:.3g} times the largest {name}" for name, value in each.distances.items()]
    return head + ", ".join(parts)
