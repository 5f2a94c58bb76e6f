"""The questions a scaling report answers, each as a test of a claim."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from cvfp_core import hookimpl
from cvfp_core.kinds import Analysis

if TYPE_CHECKING:
    import polars as pl

    from cvfp_core.findings import Finding
    from cvfp_core.fitting import Fit


def _behind(module: str, function: str) -> Callable[[pl.DataFrame, Sequence[Fit]], Iterable[Finding]]:
    """The function of a sibling module, imported when it is called."""

    def analyse(runs: pl.DataFrame, fits: Sequence[Fit]) -> Iterable[Finding]:
        made: Iterable[Finding] = getattr(import_module(f"cvfp_analyses.{module}"), function)(runs, fits)
        return made

    return analyse


ANALYSES = (
    Analysis(name="alpha-er", title="Does alpha depend on effective rank?", columns=("val_ppl", "val_er"),
             laws=("power-law",), analyse=_behind("effective_rank", "alpha_and_rank")),
    Analysis(name="er-ppl", title="Does Val ER tell which configuration has the lower perplexity at equal data?",
             columns=("val_ppl", "val_er"), analyse=_behind("effective_rank", "rank_and_perplexity")),
)


@hookimpl
def cvfp_analyses() -> Iterable[Analysis]:
    return ANALYSES
