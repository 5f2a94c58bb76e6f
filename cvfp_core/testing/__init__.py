"""The kit for authors of plugins: each check calls what a plugin registers as the core does, with data it makes itself.

    from cvfp_core.registry.kinds import Fitter
    from cvfp_core.testing import check_fitter, load_only

    import my_plugin

    def test_my_law():
        fitter = load_only(my_plugin).get(Fitter, "my-law")
        check_fitter(fitter, {"A": 5000.0, "alpha": -0.4}, unit_free=["alpha"])

A check that fails raises AssertionError: what was checked, what was expected, what was found. What is asked of a check
that cannot be (a parameter the law does not have) is a UsageError. No test framework is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import (
    Analysis,
    CorpusSource,
    Executor,
    Fitter,
    Ingester,
    IngestOptions,
    Objective,
    Quantity,
    Template,
    VariantFamily,
)
from cvfp_core.schema.settings import Scalar

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from cvfp_core.schema.claims import Verdict
    from cvfp_core.schema.jobs import Attempt

__all__ = ["check_analysis", "check_corpus", "check_executor", "check_fitter", "check_ingester", "check_light",
           "check_objective", "check_template", "check_variant", "load_only"]


def load_only(*plugins: object, beside: Iterable[str] = ()) -> Registry:
    """A registry of these plugins (modules, or objects with hooks) and no others, loaded as installed ones are.

    beside: names of installed plugins to load with them, such as `laws`. A plugin that is installed keeps its name and
    distribution; another goes by the name of its module. Raises PluginError for what the registry refuses: a misspelt
    hook, one without `@hookimpl`, values of a wrong type, clashing names.
    """
    from cvfp_core.testing.loading import only

    return only(plugins, beside)


def check_light(plugin: ModuleType) -> None:
    """The plugin's entry module is light: `cvfp --help` and `cvfp plugins` load it and call its registration hooks.

    Checked, in a process of its own: nothing heavy is imported by then, such as torch, numpy, polars or scipy.
    """
    from cvfp_core.testing import light

    light.check(plugin)


def check_variant(family: VariantFamily, name: str, *, options: Mapping[str, Scalar | None] | None = None,
                  quantities: Iterable[Quantity] = ()) -> None:
    """The family builds the variant of that name and both phases train it, as the protocol asks of a model.

    Checked: the family knows the name and no nonsense; the shapes of contexts and hidden vectors; neither method
    changes what it is given; same seed, same weights, bit for bit, and torch's global generator untouched; Phase 1
    lowers its loss and touches no parameter of Phase 2, and the other way round; the groups of parameters share none
    and sum to all that is trained, and are those of the family's `size`, if it declares one; a whole run in float32 and
    bfloat16 is finite and, in float32, the same twice, and nearly the same without shortcuts; so are the runs of
    `--controls`, untrained and with zero contexts. A one-phase family has no Phase-1 parameters. What the model's
    `metrics` returns, if it has that method, is declared and in range.

    name: of a small variant; a few seconds for widths up to 64. options: those that differ from the defaults.
    quantities: what your plugin declares, where it is not installed.
    """
    from cvfp_core.testing import variants

    variants.check(family, name, options or {}, quantities)


def check_objective(
    objective: Objective,
    plain: Callable[[np.ndarray, np.ndarray, Mapping[str, Scalar | None]], float] | None = None,
    *,
    options: Mapping[str, Scalar | None] | None = None,
) -> None:
    """The objective is one number of a batch with a right gradient, also where contexts are few, equal or zero.

    Checked: its loss in float64 is the plain one, to 1e-6, in float32 to 1e-4; its gradient is that of finite
    differences; what it is `unmoved_by` does not move it; its blocked form gives the same loss and gradient; both are
    finite for one token, equal contexts, zeros, one dimension; it writes into nothing it is given; Adam lowers it.

    plain: (contexts (B, d), previous contexts (B, d), all options) -> the loss, written a second time and as plainly as
    can be, with numpy. options: those that differ from the defaults.
    """
    from cvfp_core.testing import objectives

    objectives.check(objective, plain, options or {})


def check_corpus(
    source: CorpusSource,
    *,
    options: Mapping[str, Scalar | None] | None = None,
    others: Sequence[Mapping[str, Scalar | None]] = (),
) -> None:
    """The corpus is one that can be trained on, and the same whenever it is loaded with the same options.

    Checked: shapes and types of the arrays; ids of tokens below vocab_size, training and validation of 2 tokens or
    more; ends of documents that rise up to the last training token, so that samples are prefixes of each other;
    finite embeddings, one row a token; loaded again, from what it left in its cache folder and with an empty one: the
    same in everything, hash included; with other options another hash.

    options: those that differ from the defaults; of a small corpus, as it is loaded four times. others: more of them,
    each of which must give another corpus.
    """
    from cvfp_core.testing import corpora

    corpora.check(source, options or {}, others)


def check_executor(
    executor: Executor,
    *,
    options: Mapping[str, Scalar | None] | None = None,
    jobs: int = 2,
    kill: Callable[[Attempt], None] | None = None,
    seconds: float = 300.0,
) -> None:
    """The executor has every cell of a grid stored once, though a worker is killed and then the driver.

    Checked: workers are processes of their own; one that is killed is replaced, and its cell begun again, which its
    record says; the driver, killed too and begun again, executes what is left; all cells end well, and their records
    are those of an undisturbed run. Takes half a minute: ten processes start.

    options: those that differ from the defaults. kill: ends the worker of an attempt; by default a process of this
    machine. seconds: in which all of it is done.
    """
    from cvfp_core.testing import executors

    executors.check(executor, options or {}, jobs, kill or executors.end_process, seconds)


def check_ingester(
    ingester: Ingester,
    path: Path,
    *,
    runs: int | None = None,
    lines: int | None = None,
    options: IngestOptions | None = None,
) -> None:
    """The ingester knows the file or folder at `path`, reads all of it, and leaves alone what is not its own.

    Checked: it knows `path` and neither an empty file, nor random bytes, nor foreign text; every line is accounted for
    and understood; all it finds passes the gate into the record schema; read twice, same run ids; cut off or damaged
    anywhere, it still reads or ends in an error of one line, never in another exception.

    runs: how many records there must be; by default at least one. lines: how many lines or rows it must account for;
    by default those of a text file that is not JSON. options: what a user would say of the input.
    """
    from cvfp_core.testing import ingesters

    ingesters.check(ingester, path, runs, lines, options or IngestOptions())


def check_fitter(
    fitter: Fitter,
    parameters: Mapping[str, float],
    *,
    inputs: Mapping[str, Sequence[float]] | None = None,
    variants: Sequence[str] | None = None,
    law: Callable[..., Any] | None = None,
    expected: Mapping[str, float] | None = None,
    unit_free: Collection[str] = (),
    options: Mapping[str, Scalar | None] | None = None,
    noise: float = 0.02,
    data_sets: int = 40,
    tolerance: float = 1e-3,
) -> None:
    """The fitter recovers its own law from data made by it, in any unit, and refuses what cannot be fitted.

    Checked: without noise, estimates within `tolerance` (relative) of the truth; with noise, 95 % intervals that
    contain it in as many of `data_sets` as chance allows; the first input in thousands gives the same residuals, and
    the same estimates of what is `unit_free`; too few, constant, missing, infinite or repeated points end in a status
    with a reason, never in an exception.

    parameters: of the law the data follow. law: `law(**inputs, **parameters)` -> response; by default the fitter's
    function. inputs: by column, equally long; by default 12 sizes from 1e4 to 1e7 tokens. variants: of these runs, by
    default all of one. expected: estimates by name, where they are not the parameters. noise: standard deviation of the
    logarithm of the response.
    """
    from cvfp_core.testing import fitters

    fitters.check(fitter, fitters.Example(
        parameters=parameters, inputs=inputs, variants=variants, law=law, expected=expected, unit_free=unit_free,
        options=options or {}, noise=noise, data_sets=data_sets, tolerance=tolerance,
    ))


def check_analysis(
    analysis: Analysis,
    *,
    null: Callable[[int], pl.DataFrame] | None = None,
    wrong: Mapping[str, Collection[Verdict]] | None = None,
    data_sets: int = 100,
    registry: Registry | None = None,
) -> None:
    """The analysis does not see in chance what is not there, and ends in findings whatever it is given.

    Checked: of `data_sets` without any effect, no more than chance allows at a level of 5 % get a verdict that is
    `wrong` there, after the core's correction (in one of a thousand right analyses there are more; that is at most 7 of
    40, 13 of 100, 21 of 200); same records in another order, same findings; no records, one record, one size, values
    missing: findings or none, never an exception. An analysis that tests nothing on all of the data (no finding has
    an n or a p value) was not checked: UsageError.

    null: seed -> records without an effect; by default grids of variants whose metrics are independent of each other,
    under one power law, without controls, one-phase models and unigram perplexity. wrong: by key of a finding, the
    verdicts that are false of such data; by default `supported` and `contradicted`. Of a claim that is true of them it
    is `["contradicted"]`. registry: where the laws it reads are; by default all that is installed.
    """
    from cvfp_core.testing import analyses

    analyses.check(analysis, null or analyses.null_data, wrong or {}, data_sets, registry)


def check_template(
    template: Template, *, options: Mapping[str, Scalar | None] | None = None, registry: Registry | None = None
) -> None:
    """The template renders in every language of its catalogue, whatever the records lack.

    Checked: it uses only names there are; every message of it is translated in every language; it renders full
    records, records with nothing measured but what it needs, and none at all (or says what it needs); same records,
    same text.

    options: what a user would set. registry: the laws and analyses it reports; by default all that is installed.
    """
    from cvfp_core.testing import templates

    templates.check(template, options or {}, registry)
