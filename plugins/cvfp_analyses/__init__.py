"""The questions a scaling report answers, each as a test of a claim."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from cvfp_analyses.stopping import STOP_RULES
from cvfp_analyses.thresholds import LIGHTS
from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Analysis, Light, StopRule

if TYPE_CHECKING:
    import polars as pl

    from cvfp_core.fitting import Fit
    from cvfp_core.schema.claims import Finding


def _behind(module: str, function: str) -> Callable[[pl.DataFrame, Sequence[Fit]], Iterable[Finding]]:
    """The function of a sibling module, imported when it is called."""

    def analyse(runs: pl.DataFrame, fits: Sequence[Fit]) -> Iterable[Finding]:
        made: Iterable[Finding] = getattr(import_module(f"cvfp_analyses.{module}"), function)(runs, fits)
        return made

    return analyse


def _of_lights(runs: pl.DataFrame, lit: Sequence[Light]) -> Iterable[Finding]:
    from cvfp_analyses.decisions import lights

    return lights(runs, lit)


_ER = ("val_ppl", "val_er")
ANALYSES = (
    Analysis(name="controls", title="Does training Phase 1 lower the perplexity?", controls=True,
             analyse=_behind("controls", "against_controls")),
    Analysis(name="unigram", title="Has anything of the order of tokens been learned?",
             columns=("val_ppl", "unigram_ppl"), analyse=_behind("controls", "against_unigram")),
    Analysis(name="alpha-er", title="Does alpha depend on effective rank?", columns=_ER, laws=("power-law",),
             analyse=_behind("effective_rank", "alpha_and_rank")),
    Analysis(name="er-ppl", title="Does Val ER tell which configuration has the lower perplexity at equal data?",
             columns=_ER, analyse=_behind("effective_rank", "rank_and_perplexity")),
    Analysis(name="er-term", title="Does Val ER say more about perplexity than the amount of data does?", columns=_ER,
             laws=("log-linear-er",), analyse=_behind("rank_term", "rank_term")),
    Analysis(name="er-constant", title="Does Val ER stay the same when there is more data?", columns=_ER,
             analyse=_behind("effective_rank", "rank_constant")),
    Analysis(name="er-gap", title="Does Train ER tell Val ER?", columns=("train_er", "val_er"),
             analyse=_behind("effective_rank", "rank_gap")),
    Analysis(name="alpha-change", title="Does alpha change with the amount of data?", laws=("sliding-window",),
             analyse=_behind("scaling", "change_of_alpha")),
    Analysis(name="iterations-ppl", title="Do configurations that converge earlier end with lower perplexity?",
             columns=("val_ppl", "phase1_iterations"), analyse=_behind("training", "iterations_and_perplexity")),
    Analysis(name="train-val-ppl", title="Does training perplexity tell validation perplexity?",
             columns=("val_ppl", "train_ppl"), analyse=_behind("training", "train_and_val_perplexity")),
    Analysis(name="context-dim", title="What does a wider context do?", columns=("val_ppl", "context_dim"),
             analyse=_behind("factors", "context_dim")),
    Analysis(name="input-tokens", title="What do more input tokens do?", columns=("val_ppl", "num_input_tokens"),
             analyse=_behind("factors", "num_input_tokens")),
    Analysis(name="layers", title="What do more layers do?", columns=("val_ppl", "num_layers"),
             analyse=_behind("factors", "num_layers")),
    Analysis(name="groups", title="Which of two groups has the lower perplexity at equal data?",
             analyse=_behind("groups", "pairs")),
    Analysis(name="lights", title="Do the thresholds stop the worse runs?", analyse_lights=_of_lights),
    Analysis(name="grid", title="Is the grid complete, and every run there once?", analyse=_behind("groups", "grid")),
)


@hookimpl
def cvfp_analyses() -> Iterable[Analysis]:
    return ANALYSES


@hookimpl
def cvfp_lights() -> Iterable[Light]:
    return LIGHTS


@hookimpl
def cvfp_stop_rules() -> Iterable[StopRule]:
    return STOP_RULES
