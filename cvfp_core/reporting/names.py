"""The names a template may use: the type of the view. docs/templates.md is made from this file.

Every value is plain: text, a number, a truth value, nothing, a list or a dictionary.
"""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from cvfp_core.claims.prediction import Evidence, Gain
from cvfp_core.claims.prices import Hindsight, Price
from cvfp_core.deciding.forecast import FinalForecast
from cvfp_core.deciding.optimum import Optimum
from cvfp_core.deciding.plan import Planned
from cvfp_core.fitting import Candidate, Choice, Estimate, Fit
from cvfp_core.ingesting.reading import InputFile, InputSource
from cvfp_core.schema.claims import Caveat, Finding, Table

VALUES = (Fit, Estimate, Choice, Candidate, Finding, Caveat, Table, InputFile, InputSource, Optimum, Gain, Evidence,
          Price, Hindsight, Planned, FinalForecast)
"""Values that a template gets as dictionaries of their fields."""


class RangeView(TypedDict):
    """The smallest and the largest of some values."""

    low: Annotated[float, "the smallest"]
    high: Annotated[float, "the largest"]


class FitView(TypedDict):
    """One law fitted to one series or set of records: what a `Fit` has, but `estimates`, and beside it these."""

    why: Annotated[dict[str, Any] | None, "the reason as a message: `text`, `values`; none if there is nothing to say"]
    parameters: Annotated[dict[str, Estimate], "estimates by name"]
    caveats: Annotated[list[dict[str, Any]], "what limits the runs fitted, as messages: `text`, `values`"]
    marks: Annotated[str, "of the runs fitted: † some were cut short, ‡ are no better than unigrams, § are controls"]
    trendless: Annotated[bool, "whether the interval of its exponent holds 0, so that no trend was found"]


class WindowView(TypedDict):
    """The exponent over some consecutive sizes of a series."""

    number: Annotated[int, "from 1"]
    tokens: Annotated[RangeView, "sizes of the window"]
    samples: Annotated[RangeView | None, "the same in documents"]
    alpha: Annotated[Estimate, "fitted to the window"]
    published_alpha: Annotated[float | None, "what the input itself states"]
    val_er: Annotated[float | None, "mean effective rank of the window's runs"]
    val_ppl: Annotated[RangeView | None, "perplexities of the window's runs"]


class SeriesView(TypedDict):
    """The runs of one (experiment, variant) over sizes; those of a control are a series of their own."""

    label: Annotated[str, "`experiment:variant`, of a control `experiment:variant:control`"]
    experiment: Annotated[str, "label of runs made under the same settings"]
    variant: Annotated[str, "configuration, such as 1L_768d_2tok"]
    control: Annotated[str | None, "which control of Phase 1 its runs are: untrained, zero-context; none: no control"]
    objective: Annotated[str | None, "what Phase 1 minimised; none: the published objective, or it is not said"]
    phases: Annotated[int | None, "phases of the model; 1: it has no contexts, so nothing is to be said of Phase 1"]
    name: Annotated[str, "the variant, with the control if it is one; with `--by` the label"]
    title: Annotated[str, "`experiment: variant`; with `--by` the label"]
    num_layers: Annotated[int | None, "layers"]
    context_dim: Annotated[int | None, "width of a context vector"]
    num_input_tokens: Annotated[int | None, "tokens in the input window"]
    runs: Annotated[list[dict[str, Any]], "its records in order of size: all record columns"]
    best: Annotated[dict[str, Any] | None, "the run of the best `y`: the lowest validation perplexity"]
    largest: Annotated[dict[str, Any] | None, "the usable run of the largest `x`: of most training tokens"]
    ranges: Annotated[dict[str, RangeView], "of each measured numeric column of its usable runs"]
    censored: Annotated[int, "runs whose Phase 1 was stopped at its limit"]
    phase2_censored: Annotated[int, "runs whose best epoch is the last one allowed"]
    er_gap: Annotated[RangeView | None, "train_er - val_er of its runs, as fractions"]
    fit: Annotated[FitView | None, "of the law the report is about: the power law, or what `--law` names"]
    published_alpha: Annotated[float | None, "the exponent that the input itself states"]
    windows: Annotated[list[WindowView], "exponents over consecutive sizes; one window if there are few sizes"]
    change: Annotated[Estimate | None, "last minus first window's alpha"]
    curvature: Annotated[Estimate | None, "quadratic term of log PPL over log tokens; above 0: it flattens"]
    marks: Annotated[list[str], "what it is first or last in among the series: `lowest Val PPL`..."]


class LawView(TypedDict):
    """A law with all its fits."""

    name: Annotated[str, "of the law"]
    title: Annotated[str, "what it is"]
    form: Annotated[str, "as people write it"]
    plugin: Annotated[str, "which plugin it comes from"]
    fits: Annotated[list[FitView], "one a series, of some of many series; or one for all records"]
    more: Annotated[int, "series that are left out of these"]


class ForecastView(TypedDict):
    """What each series would be at ten times the largest size of all, or at what `--at` gives."""

    label: Annotated[str, "`experiment:variant`"]
    inputs: Annotated[dict[str, float], "what is predicted for, by quantity"]
    train_tokens: Annotated[float | None, "the size predicted for; none if it is no input"]
    law: Annotated[str, "the law that gives the value, or `average`"]
    value: Annotated[float | None, "of `y`: perplexity"]
    low: Annotated[float | None, "lower end of the 95 % interval of one new run"]
    high: Annotated[float | None, "upper end"]
    distances: Annotated[dict[str, float], "of each input, as a multiple of the largest value fitted"]
    interval_law: Annotated[str, "the laws that give the interval"]
    reason: Annotated[str, "why there is no value or no interval, or a caution"]
    why: Annotated[list[dict[str, Any]], "the same as messages: `text`, `values`"]


class FormulaView(TypedDict):
    """A formula that predicts perplexity, held against the records."""

    law: Annotated[str, "the law it is a case of"]
    form: Annotated[str, "as people write it, with its numbers"]
    given: Annotated[bool, "True: its numbers were proposed, not fitted"]
    fit: Annotated[FitView, "with the mean absolute relative error as parameter `mape`"]
    errors: Annotated[list[dict[str, Any]], "by series: `label`, `error` as a fraction, `val_ppl`, `predicted`"]


class ComparisonView(TypedDict):
    """Two groups of runs at matched sizes."""

    a: Annotated[str, "the first group: an experiment, a variant, or experiment:variant"]
    b: Annotated[str, "the second group"]
    matched_by: Annotated[list[str], "columns that the two runs of a pair share"]
    pairs: Annotated[list[dict[str, Any]], "`variant`, `num_samples`, `train_tokens`, `seed`, `a`, `b` (records), "
                                           "`ratio`; one a size and seed"]
    ratio: Annotated[Estimate | None, "geometric mean of val_ppl of b over a, t interval over the units"]
    p_value: Annotated[float | None, "of the ratio being 1, paired t test on logarithms"]
    level: Annotated[str, "what the intervals are over: configurations, seeds, or sizes, which are no replicates"]
    units: Annotated[int, "how many of these"]
    multiplier: Annotated[Estimate | None, "tokens a needs for as much, as a multiple of those of b"]
    er_difference: Annotated[Estimate | None, "mean of val_er of b minus a"]
    differences: Annotated[list[dict[str, Any]], "what differs: `name`, `a`, `b` (none: not known), `assumed`"]
    settings_known: Annotated[bool, "whether both groups state their settings"]
    unmatched: Annotated[int, "runs of either group without a partner"]
    without_censored: Annotated[dict[str, Any] | None, "`n`, `ratio`, `p_value` of the pairs without runs cut short in "
                                                       "Phase 2; none: there are no such runs"]


class StandingView(TypedDict):
    """An objective of Phase 1, or a control, at the sizes and seeds that all objectives have."""

    name: Annotated[str, "of the objective, or of the control: untrained, zero-context"]
    runs: Annotated[int, "runs of it"]
    val_er: Annotated[dict[str, float | None], "`value`, `low`, `high`: mean over sizes of each seed, t interval over "
                                               "seeds"]
    er_difference: Annotated[dict[str, float | None], "the same of Val ER minus that under the reference"]
    ratio: Annotated[dict[str, float | None], "the same of Val PPL relative to the reference's"]
    seconds: Annotated[float | None, "of an iteration of Phase 1"]
    cost: Annotated[float | None, "the same as a multiple of the reference's"]
    iterations: Annotated[float | None, "of Phase 1, mean over runs"]
    censored: Annotated[int, "runs whose Phase 1 ended before it converged"]


class ObjectivesView(TypedDict):
    """Objectives of Phase 1 at equal data, settings and seeds."""

    reference: Annotated[str, "the published objective, or the first"]
    seeds: Annotated[list[int], "that all have"]
    sizes: Annotated[list[float], "training tokens that all have"]
    left_out: Annotated[list[str], "objectives that share no size and seed with the others"]
    by_er: Annotated[list[StandingView], "the highest Val ER first"]
    by_ppl: Annotated[list[StandingView], "the lowest Val PPL first"]
    controls: Annotated[list[StandingView], "controls of Phase 1 at the same sizes and seeds"]


class OptimumView(TypedDict):
    """The compute-optimal model of each series for some budgets, by three approaches."""

    flops: Annotated[list[float], "the budgets: `--set flops=1e21`, or ten times the largest run's"]
    law: Annotated[str, "the law of both sizes: `--law`, or chinchilla"]
    sweeps: Annotated[list[dict[str, Any]], "by series: `series`, `runs`, `cost` (`form`, `convention`), `optima` "
                                            "(`Optimum`, with `why`), `isoflops` (`budgets`, `minima`, `degree`, "
                                            "`p_value`), `notes` (messages); none where sizes were not measured"]


class AnswerView(TypedDict):
    """Whether Phase 1 tells the outcome of a configuration that was not fitted, beyond what its size tells."""

    verdict: Annotated[str | None, "yes, no, worse or cannot tell; none: there is no answer"]
    more: Annotated[int | None, "configurations more that would tell; none: no number up to 1,000"]
    margin: Annotated[float, "change of the left-out error that does not matter, as a fraction: `--set margin`"]
    degree: Annotated[int, "of the best model over sizes alone: 1 straight, 2 curved in the logarithm; 0: none"]
    singly: Annotated[list[Gain], "each metric: the model with it against the one without"]
    chosen: Annotated[Gain | None, "those that are chosen for each configuration by the others alone"]
    reason: Annotated[dict[str, Any] | None, "why there is no answer, as a message; none if there is one"]
    refused: Annotated[list[dict[str, Any]], "`metric`, `why` (a message), `unmeasured`: what could not be tried"]


class TradeOffView(TypedDict):
    """What changes of a variant from one experiment to another: `--set trade_off=v1,v2`."""

    variant: Annotated[str, "configuration"]
    first: Annotated[str, "the first experiment"]
    second: Annotated[str, "the second"]
    er_change: Annotated[float | None, "of val_er at the lowest perplexity, second minus first, as a fraction"]
    alpha_change: Annotated[float | None, "of the exponent"]
    ratio: Annotated[float | None, "geometric mean of val_ppl, second over first, at equal sizes"]
    sizes: Annotated[int, "that both have"]
    differ: Annotated[list[str], "settings in which they differ"]


class ExampleView(TypedDict):
    """What a formula says of a new configuration."""

    val_er: Annotated[float, "its effective rank: `--set examples`"]
    formula: Annotated[str, "line: PPL over rank, as proposed; regression: on log size and rank"]
    train_tokens: Annotated[float | None, "the size it is at; none: that of each configuration's lowest perplexity"]
    value: Annotated[float | None, "perplexity"]
    low: Annotated[float | None, "lower end of the 95 % interval of a new configuration"]
    high: Annotated[float | None, "upper end"]


class JointView(TypedDict):
    """The law of params and train_tokens that forecasts, where a sweep varies both."""

    law: Annotated[str, "its name"]
    choice: Annotated[Choice | None, "how it was chosen; none: it is the only one installed"]
    fits: Annotated[list[FitView], "its fits: one a series, or one for all records"]
    forecasts: Annotated[list[ForecastView], "at the largest params and train_tokens and ten times either, or at "
                                                   "what `--at` gives"]


class SizeView(TypedDict):
    """How far a quantity was varied; also what AxisView has."""

    name: Annotated[str, "as records call it"]
    runs: Annotated[int, "finished runs that have it"]
    values: Annotated[int, "distinct ones"]
    low: Annotated[float, "the smallest"]
    high: Annotated[float, "the largest"]


class PlanView(TypedDict):
    """The next runs for a target, one after another."""

    series: Annotated[str, "of the runs it is made from"]
    runs: Annotated[int, "how many these are"]
    target: Annotated[dict[str, Any], "`kind` (place, optimum, multiplier), `inputs`, `flops`, `text`"]
    response: Annotated[str, "what the laws explain"]
    inputs: Annotated[list[str], "sizes that the laws are of"]
    arms: Annotated[list[str], "the two of a multiplier; else none"]
    budget: Annotated[float, "FLOPs: `--set budget=1e20`"]
    cost: Annotated[str, "how FLOPs follow from sizes: `C = 6 N D`"]
    laws: Annotated[dict[str, float], "weights of the laws that are averaged; none while no law is trusted"]
    value: Annotated[float | None, "the target now; none while no law is trusted"]
    low: Annotated[float | None, "lower end of its 95 % interval"]
    high: Annotated[float | None, "upper end"]
    steps: Annotated[list[dict[str, Any]], "the runs in their order: `Planned`"]
    notes: Annotated[list[dict[str, Any]], "messages: why it ends there, and what limits it"]


class NextRunsView(TypedDict):
    """The runs to make next if nobody names a target."""

    target: Annotated[dict[str, float], "ten times the largest sizes"]
    plan: Annotated[PlanView | None, "at the FLOPs of the largest run; none where these runs call for more to be said"]


class FinalsView(TypedDict):
    """What runs will end with, by their curves so far and by finished runs."""

    forecasts: Annotated[list[dict[str, Any]], "of runs still going: `FinalForecast`, with `name` and `why`"]
    after: Annotated[str, "from which first steps finished runs are forecast: `--set after=3`, or 30%"]
    backtest: Annotated[list[dict[str, Any]], "by series: `series`, `count`, `inside`, `mean_error`, `median_error` "
                                              "(fractions)"]
    total: Annotated[dict[str, Any], "the same of all series together"]
    kept: Annotated[dict[str, Any], "the same of forecasts that were kept before the runs ended"]


class DecisionsView(TypedDict):
    """What the thresholds say before Phase 2 is paid for."""

    lights: Annotated[list[dict[str, Any]], "`name`, `title`, `metric`, `better`, `green`, `red`, `percent`"]
    runs: Annotated[list[dict[str, Any]], "`run_id`, `series`, `num_samples`, `light`, `value`, `censored`, `colour` "
                                          "(none: cannot be said)"]
    series: Annotated[list[dict[str, Any]], "`label`, `lights`: by light, runs by colour (`none`: cannot be said)"]
    backtests: Annotated[list[dict[str, Any]], "had red runs been stopped: `rule`, `judged`, `stopped`, `ranked`, "
                                               "`worse`, `lost`, `good`, `p_value`, `series`, `seconds_saved`, "
                                               "`seconds_total`, `timed`, `ratio_stopped`, `ratio_kept`, `best_lost`"]
    bands: Annotated[list[dict[str, Any]], "by light and colour: `light`, `colour`, `runs`, `series`, `ratio` to the "
                                           "median at the same size"]
    prices: Annotated[list[Price], "perplexity lost against time saved, over thresholds of each light"]
    hindsight: Annotated[Hindsight | None, "the rule that in hindsight stops the worst runs; none: there is none"]


class StopsView(TypedDict):
    """What the mid-run rules would have ended."""

    rules: Annotated[list[dict[str, Any]], "`name` and `title`"]
    seen: Annotated[dict[str, int], "runs whose curves a rule could be applied to, by rule"]
    runs: Annotated[list[dict[str, Any]], "ended runs: `run_id`, `series`, `num_samples`, `rule`, `iteration`, "
                                          "`iterations`, `reason`"]
    backtests: Annotated[list[dict[str, Any]], "as those of the lights, by rule"]


class FigureView(TypedDict):
    """A figure beside the report."""

    name: Annotated[str, "scaling, alpha, alpha_over_val_er, windows, matched, convergence, isoflops, plan, courses; "
                         "joint: of the law of two sizes; `surface-LAW`: of any law of several inputs"]
    path: Annotated[str | None, "relative to the report; none if it could not be made"]
    title: Annotated[str, "what it shows, as a message; write it with the filter `say(values)`"]
    values: Annotated[dict[str, Any], "for the names"]
    caption: Annotated[str, "what stands below it, as a message; empty: nothing"]


class AxisView(TypedDict):
    """A quantity that the report is about."""

    name: Annotated[str, "as records call it: `train_tokens`"]
    label: Annotated[str, "as headings call it: `Val ER`"]
    heading: Annotated[str, "the same, with (%) if it is a fraction"]
    unit: Annotated[str, "tokens, nat a token...; empty for a plain number"]
    kind: Annotated[str, "size, metric, setting, cost..."]
    percent: Annotated[bool, "whether it is a fraction, which people quote in percent"]
    better: Annotated[str | None, "lower or higher; none: neither is better"]
    scale: Annotated[str, "the scale it is fitted on: log or raw"]
    censored_by: Annotated[str, "the column that marks runs cut short, whose values are limits; empty: none"]


class RowsView(TypedDict):
    """What became of the runs that were read."""

    read: Annotated[int, "found in the input"]
    used: Annotated[int, "records of the report"]
    dropped: Annotated[list[dict[str, Any]], "`reason` (a message) and `count`"]


class View(TypedDict, total=False):
    """Everything a template may use. What it does not use is not computed."""

    lang: Annotated[str, "language of the report: en, ja..."]
    options: Annotated[dict[str, Any], "what `--set` gave, with the template's defaults"]
    x: Annotated[AxisView, "what sizes are: `--x`, or training tokens"]
    y: Annotated[AxisView, "what is explained: `--y`, or validation perplexity"]
    law: Annotated[str, "the law fitted to series: `--law`, or the power law"]
    law_form: Annotated[str, "the same as people write it: `PPL = A * tokens^alpha`"]
    fitted: Annotated[list[FitView], "its fits: one a series, or one for all records"]
    command: Annotated[str, "the command that gives this report"]
    cvfp_version: Annotated[str, "version of cvfp"]
    versions: Annotated[dict[str, str], "versions of what computed the report"]
    plugins: Annotated[list[dict[str, str]], "`name`, `distribution`, `version` of every plugin installed"]
    num_records: Annotated[int, "runs reported on"]
    of_runs: Annotated[int, "runs that these are some of, spread evenly, where there are more than `limits.runs`"]
    statuses: Annotated[dict[str, int], "runs by status: ok, diverged, failed, interrupted"]
    experiments: Annotated[list[str], "labels, in order of first appearance"]
    corpora: Annotated[list[dict[str, Any]], "`corpus`, `corpus_hash`, `tokenizer`, `vocab_size`, `unigram_ppl`, "
                                             "`val_tokens` of each corpus"]
    devices: Annotated[list[str], "what the runs were made on"]
    sources: Annotated[list[str], "the records' own account of where they come from"]
    inputs: Annotated[list[InputSource], "what was read"]
    files: Annotated[list[InputFile], "the files behind it, with hashes"]
    rows: Annotated[RowsView, "what became of the runs read"]
    series: Annotated[list[SeriesView], "one entry a (experiment, variant)"]
    laws: Annotated[list[LawView], "every law with its fits"]
    choice: Annotated[Choice, "which law the points call for"]
    chosen: Annotated[list[FitView], "the fits of that law"]
    bend: Annotated[FitView | None, "whether all series flatten alike: the sign test over their curvatures"]
    forecasts: Annotated[list[ForecastView], "each series at ten times its largest size"]
    formulas: Annotated[list[FormulaView], "formulas that predict perplexity, with their errors"]
    findings: Annotated[list[Finding], "every claim, and whether the runs could decide it: `tested`"]
    verdicts: Annotated[dict[str, int], "findings by verdict; `not_tested`: there is too little for a test"]
    answer: Annotated[AnswerView, "whether Phase 1 tells the outcome"]
    evidence: Annotated[Evidence, "what there is to answer from"]
    trade_offs: Annotated[list[TradeOffView], "variants that two experiments share"]
    examples: Annotated[list[ExampleView], "formulas at new configurations"]
    decisions: Annotated[DecisionsView, "thresholds, lights of every run, and their back-tests"]
    stops: Annotated[StopsView, "mid-run rules, evaluated on the curves"]
    comparison: Annotated[ComparisonView, "two groups at matched sizes; needs --set a=... --set b=..."]
    objectives: Annotated[ObjectivesView | None, "what Phase 1 minimised, compared; none: no two share size "
                                                 "and seed"]
    optimum: Annotated[OptimumView, "compute-optimal models"]
    sizes: Annotated[list[SizeView], "the sizes of the sweep and what was measured"]
    one_size: Annotated[bool, "whether what is fitted are curves of one size; False: a law of several"]
    joint: Annotated[JointView | None, "the law of params and train_tokens; none where they do not vary"]
    arms: Annotated[list[dict[str, Any]], "each further series of the same sizes against the first: `arm`, `baseline`, "
                                          "`pairs`, `level`, `units`, `ratio`, `multiplier` (`value`, `low`, `high`), "
                                          "`verdict`, `notes` (messages)"]
    plan: Annotated[PlanView, "the next runs; needs --set target=... and --set budget=..."]
    next_runs: Annotated[NextRunsView, "what to run next, for ten times the largest sizes"]
    finals: Annotated[FinalsView, "forecasts of what runs will end with"]
    figures: Annotated[dict[str, FigureView], "figures by name"]
    sections: Annotated[list[str], "templates that plugins add to this one, to be included by name"]
    figures_missing: Annotated[str | None, "why there are no figures, as a message; none if there are"]
