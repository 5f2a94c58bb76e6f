"""The questions a scaling report answers, each as a test of a claim."""

from __future__ import annotations

from collections.abc import Iterable

from cvfp_analyses.stopping import STOP_RULES
from cvfp_analyses.thresholds import LIGHTS
from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Analysis, Light, StopRule
from cvfp_core.registry.lazy import lazy

_ER = ("val_ppl", "val_er")
ANALYSES = (
    Analysis(name="controls", title="Does training Phase 1 lower the perplexity?", controls=True,
             analyse=lazy("cvfp_analyses.controls:against_controls")),
    Analysis(name="unigram", title="Has anything of the order of tokens been learned?",
             columns=("val_ppl", "unigram_ppl"), analyse=lazy("cvfp_analyses.controls:against_unigram")),
    Analysis(name="alpha-er", title="Does alpha depend on effective rank?", columns=_ER, laws=("power-law",),
             analyse=lazy("cvfp_analyses.effective_rank:alpha_and_rank")),
    Analysis(name="er-ppl", title="Does Val ER tell which configuration has the lower perplexity at equal data?",
             columns=_ER, analyse=lazy("cvfp_analyses.effective_rank:rank_and_perplexity")),
    Analysis(name="er-term", title="Does Val ER say more about perplexity than the amount of data does?", columns=_ER,
             laws=("log-linear-er",), analyse=lazy("cvfp_analyses.rank_term:rank_term")),
    Analysis(name="er-constant", title="Does Val ER stay the same when there is more data?", columns=_ER,
             analyse=lazy("cvfp_analyses.effective_rank:rank_constant")),
    Analysis(name="er-gap", title="Does Train ER tell Val ER?", columns=("train_er", "val_er"),
             analyse=lazy("cvfp_analyses.effective_rank:rank_gap")),
    Analysis(name="alpha-change", title="Does alpha change with the amount of data?", laws=("sliding-window",),
             analyse=lazy("cvfp_analyses.scaling:change_of_alpha")),
    Analysis(name="iterations-ppl", title="Do configurations that converge earlier end with lower perplexity?",
             columns=("val_ppl", "phase1_iterations"),
             analyse=lazy("cvfp_analyses.training:iterations_and_perplexity")),
    Analysis(name="train-val-ppl", title="Does training perplexity tell validation perplexity?",
             columns=("val_ppl", "train_ppl"), analyse=lazy("cvfp_analyses.training:train_and_val_perplexity")),
    Analysis(name="context-dim", title="What does a wider context do?", columns=("val_ppl", "context_dim"),
             analyse=lazy("cvfp_analyses.factors:context_dim")),
    Analysis(name="input-tokens", title="What do more input tokens do?", columns=("val_ppl", "num_input_tokens"),
             analyse=lazy("cvfp_analyses.factors:num_input_tokens")),
    Analysis(name="layers", title="What do more layers do?", columns=("val_ppl", "num_layers"),
             analyse=lazy("cvfp_analyses.factors:num_layers")),
    Analysis(name="groups", title="Which of two groups has the lower perplexity at equal data?",
             analyse=lazy("cvfp_analyses.groups:pairs")),
    Analysis(name="lights", title="Do the thresholds stop the worse runs?",
             analyse_lights=lazy("cvfp_analyses.decisions:lights")),
    Analysis(name="objectives", title="Does the objective with the higher Val ER have the lower Val PPL?", columns=(),
             controls=True, analyse=lazy("cvfp_analyses.objectives:objectives")),
    Analysis(name="grid", title="Is the grid complete, and every run there once?",
             analyse=lazy("cvfp_analyses.groups:grid")),
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
