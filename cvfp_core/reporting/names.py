"""The names a template may use: the type of the view. docs/templates.md is made from this file.

Every value is plain: text, a number, a truth value, nothing, a list or a dictionary.
"""

from __future__ import annotations

from typing import Annotated, Any, TypedDict


class RangeView(TypedDict):
    """The smallest and the largest of some values."""

    low: Annotated[float, "the smallest"]
    high: Annotated[float, "the largest"]


class CaveatView(TypedDict):
    """What limits a finding, a fit or a forecast."""

    text: Annotated[str, "a message with {names}; write it with the filter `say(values)`"]
    values: Annotated[dict[str, Any], "for the names"]


class EstimateView(TypedDict):
    """One number with its 95 % interval."""

    name: Annotated[str, "of the parameter"]
    value: Annotated[float | None, "none where the fit gave none"]
    low: Annotated[float | None, "lower end; none: unbounded, or no interval if `method` is none too"]
    high: Annotated[float | None, "upper end"]
    stderr: Annotated[float | None, "standard error"]
    method: Annotated[str | None, "where the interval comes from: t, profile F, bootstrap; none: there is none"]
    unit: Annotated[str, "empty for a plain number; `fraction`; `per point`..."]
    note: Annotated[str, "what else is to be said of it"]


class FitView(TypedDict):
    """One law fitted to one series or set of records. A fit that failed is one too."""

    law: Annotated[str, "name of the law"]
    form: Annotated[str, "as people write it: `PPL = A * tokens^alpha`"]
    series: Annotated[str, "`experiment:variant`, or what the points have in common"]
    status: Annotated[str, "`converged`, or why not"]
    reason: Annotated[str, "why the status is not `converged`; or a caution"]
    why: Annotated[CaveatView | None, "the same as a message; none if there is nothing to say"]
    parameters: Annotated[dict[str, EstimateView], "estimates by name"]
    space: Annotated[str, "where residuals are taken: log or raw"]
    floor: Annotated[str | None, "the parameter that is the limit at infinite data"]
    n: Annotated[int, "runs fitted"]
    sizes: Annotated[int, "distinct sizes among them"]
    dof: Annotated[int, "degrees of freedom"]
    rss: Annotated[float | None, "residual sum of squares"]
    sigma: Annotated[float | None, "residual standard deviation of one run"]
    r_squared: Annotated[float | None, "share of variance explained"]
    p_value: Annotated[float | None, "of the law's main parameter, where there is a test"]
    aicc: Annotated[float | None, "corrected Akaike criterion"]
    lack_of_fit_p: Annotated[float | None, "of the scatter about the law against that of seeds; needs repeats"]
    fitted_range: Annotated[list[float] | None, "smallest and largest value of the first input"]
    left_out: Annotated[list[str], "what was not fitted, counted, in words"]


class WindowView(TypedDict):
    """The exponent over some consecutive sizes of a series."""

    number: Annotated[int, "from 1"]
    tokens: Annotated[RangeView, "sizes of the window"]
    samples: Annotated[RangeView | None, "the same in documents"]
    alpha: Annotated[EstimateView, "fitted to the window"]
    published_alpha: Annotated[float | None, "what the input itself states"]
    val_er: Annotated[float | None, "mean effective rank of the window's runs"]
    val_ppl: Annotated[RangeView | None, "perplexities of the window's runs"]


class SeriesView(TypedDict):
    """The runs of one (experiment, variant) over sizes; those of a control are a series of their own."""

    label: Annotated[str, "`experiment:variant`, of a control `experiment:variant:control`"]
    experiment: Annotated[str, "label of runs made under the same settings"]
    variant: Annotated[str, "configuration, such as 1L_768d_2tok"]
    control: Annotated[str | None, "which control of Phase 1 its runs are: untrained, zero-context; none: no control"]
    phases: Annotated[int | None, "phases of the model; 1: it has no contexts, so nothing is to be said of Phase 1"]
    name: Annotated[str, "the variant, with the control if it is one"]
    num_layers: Annotated[int | None, "layers"]
    context_dim: Annotated[int | None, "width of a context vector"]
    num_input_tokens: Annotated[int | None, "tokens in the input window"]
    runs: Annotated[list[dict[str, Any]], "its records in order of size: all record columns"]
    best: Annotated[dict[str, Any] | None, "the run of lowest validation perplexity"]
    largest: Annotated[dict[str, Any] | None, "the usable run of most training tokens"]
    ranges: Annotated[dict[str, RangeView], "of each measured numeric column of its usable runs"]
    censored: Annotated[int, "runs whose Phase 1 was stopped at its limit"]
    er_gap: Annotated[RangeView | None, "train_er - val_er of its runs, as fractions"]
    fit: Annotated[FitView | None, "the power law"]
    published_alpha: Annotated[float | None, "the exponent that the input itself states"]
    windows: Annotated[list[WindowView], "exponents over consecutive sizes; one window if there are few sizes"]
    change: Annotated[EstimateView | None, "last minus first window's alpha"]
    curvature: Annotated[EstimateView | None, "quadratic term of log PPL over log tokens; above 0: it flattens"]
    marks: Annotated[list[str], "what it is first or last in among the series: `lowest Val PPL`..."]


class LawView(TypedDict):
    """A law with all its fits."""

    name: Annotated[str, "of the law"]
    title: Annotated[str, "what it is"]
    form: Annotated[str, "as people write it"]
    plugin: Annotated[str, "which plugin it comes from"]
    fits: Annotated[list[FitView], "one a series, or one for all records"]


class CandidateView(TypedDict):
    """A law in the choice of law."""

    law: Annotated[str, "name"]
    parameters: Annotated[int, "of one series"]
    series: Annotated[int, "series it could be fitted to with a degree of freedom left"]
    aicc: Annotated[float | None, "summed over the series"]
    backtest: Annotated[float | None, "mean absolute error of the next size, as a fraction"]
    folds: Annotated[int, "predictions the back-test made"]
    p_value: Annotated[float | None, "F test against the chosen law"]
    verdict: Annotated[str, "chosen, ruled out, not distinguishable, too few sizes"]


class ChoiceView(TypedDict):
    """Which law the points call for."""

    law: Annotated[str, "the law chosen"]
    distinguishable: Annotated[bool, "whether all others are ruled out"]
    reason: Annotated[str, "in words"]
    candidates: Annotated[list[CandidateView], "all laws that were tried"]


class ForecastView(TypedDict):
    """What each series would be at ten times its largest size."""

    label: Annotated[str, "`experiment:variant`"]
    train_tokens: Annotated[float, "the size predicted for"]
    law: Annotated[str, "the law that gives the value"]
    value: Annotated[float | None, "perplexity"]
    low: Annotated[float | None, "lower end of the 95 % interval of one new run"]
    high: Annotated[float | None, "upper end"]
    interval_law: Annotated[str, "the laws that give the interval"]
    reason: Annotated[str, "why there is no value or no interval, or a caution"]
    why: Annotated[list[CaveatView], "the same as messages"]


class TableView(TypedDict):
    """A table of a finding."""

    columns: Annotated[list[str], "headings"]
    rows: Annotated[list[list[Any]], "cells"]


class FindingView(TypedDict):
    """One claim, tested on the records."""

    key: Annotated[str, "name of the finding"]
    analysis: Annotated[str, "the analysis it comes from"]
    question: Annotated[str, "what was asked: a message; write it with the filter `say(values)`"]
    claim: Annotated[str, "the claim that was tested: a message"]
    values: Annotated[dict[str, Any], "for the names in the messages"]
    verdict: Annotated[str, "supported, contradicted, inconclusive or confounded"]
    estimate: Annotated[float | None, "the number the verdict rests on"]
    low: Annotated[float | None, "lower end of its 95 % interval"]
    high: Annotated[float | None, "upper end"]
    unit: Annotated[str, "of the estimate"]
    n: Annotated[int, "what it was computed from"]
    method: Annotated[str, "how"]
    p_value: Annotated[float | None, "of the test"]
    p_adjusted: Annotated[float | None, "corrected for the number of findings"]
    caveats: Annotated[list[CaveatView], "what limits it"]
    table: Annotated[TableView | None, "the figures behind it"]


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
    pairs: Annotated[list[dict[str, Any]], "`variant`, `num_samples`, `train_tokens`, `a`, `b` (records), `ratio`"]
    ratio: Annotated[EstimateView | None, "geometric mean of val_ppl of b over a, t interval over the pairs"]
    p_value: Annotated[float | None, "of the ratio being 1, paired t test on logarithms"]
    er_difference: Annotated[EstimateView | None, "mean of val_er of b minus a"]
    differences: Annotated[list[dict[str, Any]], "what differs: `name`, `a`, `b` (none: not known), `assumed`"]
    settings_known: Annotated[bool, "whether both groups state their settings"]
    unmatched: Annotated[int, "runs of either group without a partner"]


class DecisionsView(TypedDict):
    """What the lights say before Phase 2 is paid for."""

    lights: Annotated[list[dict[str, Any]], "`name`, `title`, `metric`, `better`, `green`, `red`, `percent`"]
    runs: Annotated[list[dict[str, Any]], "`run_id`, `series`, `num_samples`, `light`, `value`, `censored`, `colour` "
                                          "(none: cannot be said)"]
    series: Annotated[list[dict[str, Any]], "`label`, `lights`: by light, runs by colour (`none`: cannot be said)"]
    backtests: Annotated[list[dict[str, Any]], "had red runs been stopped: `rule`, `judged`, `stopped`, `ranked`, "
                                               "`worse`, `lost`, `good`, `p_value`, `series`, `seconds_saved`, "
                                               "`seconds_total`, `timed`"]


class StopsView(TypedDict):
    """What the mid-run rules would have ended."""

    rules: Annotated[list[dict[str, Any]], "`name` and `title`"]
    seen: Annotated[dict[str, int], "runs whose curves a rule could be applied to, by rule"]
    runs: Annotated[list[dict[str, Any]], "ended runs: `run_id`, `series`, `num_samples`, `rule`, `iteration`, "
                                          "`iterations`, `reason`"]
    backtests: Annotated[list[dict[str, Any]], "as those of the lights, by rule"]


class FigureView(TypedDict):
    """A figure beside the report."""

    name: Annotated[str, "scaling, alpha, matched, convergence"]
    path: Annotated[str | None, "relative to the report; none if it could not be made"]
    title: Annotated[str, "what it shows, as a message"]


class FileView(TypedDict):
    """A file that was read."""

    name: Annotated[str, "from the path given on"]
    ingester: Annotated[str | None, "what read it"]
    sha256: Annotated[str, "of its content"]
    size: Annotated[int, "bytes"]


class SourceView(TypedDict):
    """A path or a part of it, with what became of it."""

    name: Annotated[str, "from the path given on"]
    ingester: Annotated[str | None, "what read it; none: nothing did"]
    runs: Annotated[int, "runs found in it"]
    problem: Annotated[str | None, "why nothing of it was taken"]


class RowsView(TypedDict):
    """What became of the runs that were read."""

    read: Annotated[int, "found in the input"]
    used: Annotated[int, "records of the report"]
    dropped: Annotated[list[dict[str, Any]], "`reason` (a message) and `count`"]


class View(TypedDict, total=False):
    """Everything a template may use. What it does not use is not computed."""

    lang: Annotated[str, "language of the report: en, ja..."]
    options: Annotated[dict[str, Any], "what `--set` gave, with the template's defaults"]
    command: Annotated[str, "the command that gives this report"]
    cvfp_version: Annotated[str, "version of cvfp"]
    versions: Annotated[dict[str, str], "versions of what computed the report"]
    plugins: Annotated[list[dict[str, str]], "`name`, `distribution`, `version` of every plugin installed"]
    num_records: Annotated[int, "runs reported on"]
    statuses: Annotated[dict[str, int], "runs by status: ok, diverged, failed, interrupted"]
    experiments: Annotated[list[str], "labels, in order of first appearance"]
    corpora: Annotated[list[dict[str, Any]], "`corpus`, `corpus_hash`, `tokenizer`, `vocab_size`, `unigram_ppl`, "
                                             "`val_tokens` of each corpus"]
    devices: Annotated[list[str], "what the runs were made on"]
    sources: Annotated[list[str], "the records' own account of where they come from"]
    inputs: Annotated[list[SourceView], "what was read"]
    files: Annotated[list[FileView], "the files behind it, with hashes"]
    rows: Annotated[RowsView, "what became of the runs read"]
    series: Annotated[list[SeriesView], "one entry a (experiment, variant)"]
    laws: Annotated[list[LawView], "every law with its fits"]
    choice: Annotated[ChoiceView, "which law the points call for"]
    bend: Annotated[FitView | None, "whether all series flatten alike: the sign test over their curvatures"]
    forecasts: Annotated[list[ForecastView], "each series at ten times its largest size"]
    formulas: Annotated[list[FormulaView], "formulas that predict perplexity, with their errors"]
    findings: Annotated[list[FindingView], "every claim tested"]
    verdicts: Annotated[dict[str, int], "findings by verdict"]
    decisions: Annotated[DecisionsView, "thresholds, lights of every run, and their back-tests"]
    stops: Annotated[StopsView, "mid-run rules, evaluated on the curves"]
    comparison: Annotated[ComparisonView, "two groups at matched sizes; needs --set a=... --set b=..."]
    figures: Annotated[dict[str, FigureView], "figures by name"]
    figures_missing: Annotated[str | None, "why there are no figures, as a message; none if there are"]
