"""The check of an analysis: on data without any effect, on the same in another order, and on next to nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from scipy import stats

from cvfp_core.claims.findings import test_all
from cvfp_core.claims.verdicts import LEVEL
from cvfp_core.errors import UsageError
from cvfp_core.registry import Registry, load
from cvfp_core.registry.kinds import Analysis, Fitter, Light, StopRule
from cvfp_core.schema.claims import Finding, Verdict
from cvfp_core.schema.records import Record, frame
from cvfp_core.schema.settings import Settings
from cvfp_core.testing.expecting import expect, raised
from cvfp_core.testing.loading import holding

SIZES = (62_500, 125_000, 250_000, 500_000, 1_000_000)
GRID = tuple((layers, width, window) for layers in (1, 2) for width in (64, 256) for window in (1, 2))
"""Layers, context width and input tokens of each variant."""
CHANCE = 1e-3
"""How likely a right analysis fails for want of luck. Data are the same each time, so it does so never or always."""
ALWAYS_WRONG: tuple[Verdict, ...] = ("supported", "contradicted")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """The analysis under test with the laws it reads, and what it raised."""

    analysis: Analysis
    registry: Registry
    errors: list[Exception] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"analysis '{self.analysis.name}'"

    def findings(self, records: pl.DataFrame, what: str) -> list[Finding]:
        """What the core makes of the analysis on these records."""
        found = test_all(records, [], self.registry)
        if self.errors:
            raise raised(f"{self.name}, {what}", self.errors[0]) from self.errors[0]
        for each in found:  # what the core would not print
            expect(each.key != "failed", f"{self.name}, {what}", "findings that can be printed",
                   each.claim.format(**each.values))
        return found


def null_data(seed: int) -> pl.DataFrame:
    """Records of 8 variants at 5 sizes: one power law with noise for all, other metrics drawn without regard to it.

    Those are a level of the variant and the run's noise, in their usual ranges.
    """
    rng = np.random.default_rng(seed)
    made = []
    settings = json.dumps(Settings().as_dict(), sort_keys=True)
    for layers, width, window in GRID:
        val_rank, train_rank, steps, train_level = rng.normal([0.78, 0.78, 25, 4.5], [0.015, 0.015, 4, 0.05])
        for index, size in enumerate(SIZES):
            log_ppl = np.log(300) - 0.48 * np.log(size / 250_000) + rng.normal(0, 0.02)
            made.append(Record(
                run_id=f"{layers}-{width}-{window}-{size}", experiment="null", family="residual",
                variant=f"{layers}L_{width}d_{window}tok", num_layers=layers, context_dim=width,
                num_input_tokens=window, embed_dim=64, seed=0, settings=settings, num_samples=10 * 2**index,
                train_tokens=size, phase1_iterations=max(5, round(steps)), phase1_censored=False,
                convergence_rate=float(rng.uniform(0.99, 1.0)), cvfp_loss=float(rng.uniform(0.01, 0.03)),
                train_er=float(train_rank + rng.normal(0, 0.001)), val_er=float(val_rank + rng.normal(0, 0.001)),
                epochs=8, best_epoch=7, train_ppl=float(np.exp(train_level + rng.normal(0, 0.005))),
                val_ppl=float(np.exp(log_ppl)), val_acc=float(rng.uniform(0.15, 0.2)), params_phase1=width**2,
                params_phase2=64 * width, seconds_phase1=float(rng.uniform(1, 2)),
                seconds_phase2=float(rng.uniform(5, 9)),
            ))
    return frame(made)


def check(
    analysis: Analysis, null: Callable[[int], pl.DataFrame], wrong: Mapping[str, Collection[Verdict]], data_sets: int,
    registry: Registry | None,
) -> None:
    """See `check_analysis`."""
    subject = _subject(analysis, registry or load())
    _cries_no_wolf(subject, null, wrong, data_sets)
    records = null(0)
    _order_does_not_matter(subject, records)
    for what, part in _next_to_nothing(analysis, records).items():
        subject.findings(part, what)


def _subject(analysis: Analysis, registry: Registry) -> _Subject:
    """The subject with an analysis that notes what it raises and raises it again."""
    errors: list[Exception] = []

    def noting(function: Callable[..., Iterable[Finding]] | None) -> Callable[..., Iterable[Finding]] | None:
        def analyse(*given: object) -> Iterable[Finding]:
            assert function is not None
            try:
                return list(function(*given))
            except Exception as error:
                errors.append(error)
                raise

        return analyse if function is not None else None

    laws = registry.items(Fitter)
    missing = [law for law in analysis.laws if law not in laws]
    if missing:
        raise UsageError(f"analysis '{analysis.name}' reads laws that are not there: {', '.join(missing)}; give "
                         "registry=load_only(your_plugin, beside=['laws'])")
    beside = [*registry.items(Light).values(), *registry.items(StopRule).values()]
    watched = replace(analysis, analyse=noting(analysis.analyse), analyse_lights=noting(analysis.analyse_lights))
    return _Subject(analysis=analysis, errors=errors,
                    registry=holding(watched, *(laws[name] for name in analysis.laws), *beside))


def _cries_no_wolf(
    subject: _Subject, null: Callable[[int], pl.DataFrame], wrong: Mapping[str, Collection[Verdict]], data_sets: int
) -> None:
    count, said = 0, ""
    keys: dict[str, str] = {}  # -> what was first said under it
    tested = False
    for seed in range(data_sets):
        found = subject.findings(null(seed), f"null data of seed {seed}")
        keys = {each.key: each.claim.format(**each.values) for each in found} | keys
        tested = tested or any(each.n > 0 or each.p_value is not None for each in found)
        false = [each for each in found if each.verdict in wrong.get(each.key, ALWAYS_WRONG)]
        count += bool(false)
        said = said or next((f"'{each.key}' is {each.verdict}: {each.claim.format(**each.values)}"
                             for each in false), "")
    if not tested:
        raise UsageError(f"{subject.name} tests nothing on {data_sets} null data sets, so they check nothing; it says "
                         f"{'; '.join(keys.values()) or 'nothing'}; give null=, which makes what it asks about")
    unknown = sorted(set(wrong) - set(keys))
    if unknown:
        raise UsageError(f"{subject.name} has no finding {', '.join(unknown)} on null data; it has "
                         f"{', '.join(sorted(keys))}")
    most = int(stats.binom.isf(CHANCE, data_sets, LEVEL))
    expect(count <= most, f"{subject.name}, {data_sets} data sets without an effect",
           f"a wrong verdict in at most {most}, as chance gives at {LEVEL:.0%}", f"{count}, the first: {said}")


def _order_does_not_matter(subject: _Subject, records: pl.DataFrame) -> None:
    """Keys are left out: which of two groups is named first may follow the order of records."""
    def shown(part: pl.DataFrame) -> list[str]:
        found = subject.findings(part, "records in another order")
        return sorted(f"{each.verdict}, n = {each.n}, p = {_rounded(each.p_value)}" for each in found)

    one, two = shown(records), shown(records.reverse())
    off = [(left, right) for left, right in zip(one, two, strict=False) if left != right]
    expect(one == two, f"{subject.name}, records in reverse order", "the same findings",
           "; ".join(f"{left} became {right}" for left, right in off[:3]) or f"{len(one)}, then {len(two)} of them")


def _rounded(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"


def _next_to_nothing(analysis: Analysis, records: pl.DataFrame) -> dict[str, pl.DataFrame]:
    first = records.row(0, named=True)
    one_variant = records.filter(pl.col("variant") == first["variant"])
    empty = [name for name in records.columns
             if name not in ("run_id", "experiment", "variant", "status", "val_ppl", "train_tokens", *analysis.columns)]
    made = {
        "no records": records.clear(),
        "1 record": records.head(1),
        "2 records": records.head(2),
        "1 variant": one_variant,
        "1 size": records.filter(pl.col("train_tokens") == first["train_tokens"]),
        "the same perplexity everywhere": records.with_columns(val_ppl=pl.lit(100.0)),
        "nothing measured but what it needs": records.with_columns(
            pl.lit(None, dtype=records.schema[name]).alias(name) for name in empty),
        "no finished run": records.with_columns(status=pl.lit("diverged"), val_ppl=pl.lit(None, dtype=pl.Float64)),
    }
    for name in analysis.columns:
        if name in records.columns:
            alone = pl.when(pl.col("run_id") == first["run_id"]).then(pl.col(name))
            made[f"{name} in 1 record"] = records.with_columns(alone.alias(name))
            made[f"{name} the same in all"] = records.with_columns(pl.lit(first[name]).alias(name))
    return made
