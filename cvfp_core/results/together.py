"""What is said of runs that a law is fitted to at once, and which law is taken unasked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from rich.text import Text

from cvfp_core.errors import UsageError, some
from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import Law
from cvfp_core.reporting.sweep import FEWEST, Parted, by_series, of_sizes, parted
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """What each law is fitted to, and what is to be said of that."""

    by: Mapping[str, tuple[str, ...] | None]
    """By law: the columns whose values name what it is fitted to; None: as its scope says."""
    lines: tuple[Text, ...]
    """What is taken together: series, or sizes that a curve knows nothing of."""


def together(records: pl.DataFrame, laws: Sequence[Law], registry: Registry, by: tuple[str, ...] | None) -> Together:
    """How runs are parted for the laws. by: the columns asked for; then nothing is taken together."""
    made = {law.name: parted(records, law, registry) for law in laws if by is None}
    one = next((law for law in laws if by is None and made[law.name].small), None)
    lines = [mixed(records, {law.inputs for law in laws}, registry, by),
             *(notes(records, one, made[one.name]) if one is not None else ())]
    return Together(by={law.name: by or made[law.name].by for law in laws},
                    lines=tuple(Text(line, style="yellow") for line in lines if line))


def notes(records: pl.DataFrame, law: Law, those: Parted) -> Iterator[str]:
    """A line for what a law of several sizes takes together, and one for what makes their losses incomparable."""
    yield (f"{those.count} series are fitted as one, as {some(those.small, NAMED)} "
           f"{'has' if len(those.small) == 1 else 'have'} too few {' and '.join(law.inputs)} alone; it takes "
           f"{law.least_points} runs with {FEWEST} of each that do not grow as one; --where keeps some, --by COLUMN "
           "fits apart")
    runs = records.filter(pl.col("status") == "ok")
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
    mixes = by_series(records, known.inputs, by or SERIES).filter("_apart")
    if mixes.is_empty():
        return ""
    give = " ".join(f"--at {name}=VALUE" for name in known.inputs)
    most: Any = mixes[f"_num_{other}"].max()
    return (f"{other} vary too ({most:,} values), and this curve mixes them; --law {known.name} knows of both "
            f"(forecast by it with {give}), --by {other} fits apart")
