"""What is said of runs that a law is fitted to at once, and which law is taken unasked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from cvfp_core.errors import UsageError, some
from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import Law
from cvfp_core.reporting.sweep import FEWEST, apart, by_series, of_sizes, too_small
from cvfp_core.schema.series import SERIES

NAMED = 3
"""Series and values that a line has room for."""
COMPARABLE = ("corpus", "tokenizer", "vocab_size")
"""What makes losses comparable, as people know it; see `series.DATA`."""


def unasked(records: pl.DataFrame, registry: Registry) -> tuple[str, str | None] | None:
    """The law of several sizes that a report of the records takes, and its response; None where it takes a curve."""
    from cvfp_core.reporting import write

    try:
        found = write.about(write.suited(records, registry), records, registry)
    except UsageError:  # no template says that it suits
        return None
    law = found.get("law")
    return (law, found["y"]) if law and len(registry.get(Law, law).inputs) > 1 else None


def notes(records: pl.DataFrame, laws: Sequence[Law], registry: Registry, *, named: bool) -> Iterator[str]:
    """A line for what laws of several sizes take together, and one for what makes their losses incomparable.

    named: whether the columns that tell series apart were asked for; then nothing is taken together.
    """
    small = next((labels for law in laws if (labels := too_small(records, law, registry))), ())
    if named or not small:
        return
    law = next(law for law in laws if len(law.inputs) > 1)
    every = by_series(records)
    shown = some(small, NAMED)
    yield (f"{len(every)} series are fitted as one, as {shown} {'has' if len(small) == 1 else 'have'} too few "
           f"{' and '.join(law.inputs)} alone; it takes {law.least_points} runs with {FEWEST} of each that do not grow "
           "as one; --where keeps some, --by COLUMN fits apart")
    runs = pl.concat(every.values())
    values = {name: runs[name].unique(maintain_order=True).to_list() for name in COMPARABLE if name in runs.columns}
    differ = [f"{name} ({some(['not said' if one is None else str(one) for one in each], NAMED)})"
              for name, each in values.items() if len(each) > 1]
    if differ:
        yield f"losses of runs that are fitted as one may not be comparable, as they differ in {', '.join(differ)}"


def mixed(records: pl.DataFrame, inputs: set[tuple[str, ...]], registry: Registry, by: Sequence[str] | None) -> str:
    """That a curve goes through runs of several sizes of another kind, and which law knows of both; empty if none."""
    if len(inputs) != 1 or len(*inputs) != 1:
        return ""
    (x,), = inputs
    known = next((law for law in registry.items(Law).values() if law.automatic and law.predicts and len(law.inputs) == 2
                  and x in law.inputs and of_sizes(law, registry)), None)
    if known is None:
        return ""
    other = next(name for name in known.inputs if name != x)
    counted = records.group_by(list(by or SERIES)).agg(count=pl.col(other).n_unique())
    if counted.filter(pl.col("count") >= FEWEST).is_empty():
        return ""  # at once: to look at each of thousands of series takes seconds
    groups = by_series(records).values() if by is None else records.partition_by(list(by))
    several = [runs[other].n_unique() for runs in groups if apart(runs, known.inputs)]
    if not several:
        return ""
    give = " ".join(f"--at {name}=VALUE" for name in known.inputs)
    return (f"{other} vary too ({max(several):,} values), and this curve mixes them; --law {known.name} knows of both "
            f"(forecast by it with {give}), --by {other} fits apart")
