"""`cvfp run --dry-run`: what a grid would cost, by arithmetic; then its time, from a short calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from cvfp_core.cli.screen import say, show_json
from cvfp_core.registry.kinds import VariantFamily
from cvfp_core.results.printed import table, terminal
from cvfp_core.running.costs import CellCost, costs, gib, timed, too_large

if TYPE_CHECKING:
    from cvfp_core.running.run import Prepared


def print_costs(prepared: Prepared, *, times: bool, json_: bool) -> None:
    """Prints every cell with tokens, parameters, FLOPs at most and memory; then the time, if it is asked for."""
    registry, corpus = prepared.registry, prepared.corpus
    told = costs(prepared.cells, registry, corpus)
    if warning := too_large([cost for cost in told if not prepared.finished(cost.cell)]):
        say(warning)
    if json_:
        told, said = timed(told, registry, corpus) if times else (told, "")
        show_json([_plain(cost) for cost in told])
        if times and told[0].seconds is None:
            say(f"time {said}")
        return
    console = terminal()
    console.print(_table(told))
    console.print(
        f"{len(told)} {'cell' if len(told) == 1 else 'cells'} on {told[0].cell.device}, validation "
        f"{len(corpus.val_tokens):,} tokens, vocabulary {corpus.vocab_size:,}: "
        f"{sum(cost.flops for cost in told):.1e} FLOPs at most, {gib(max(cost.memory for cost in told))} a process "
        "at most"
    )
    built = [name for name, family in registry.items(VariantFamily).items()
             if family.size is None and any(cost.cell.variant.family == name for cost in told)]
    console.print("at most: every Phase 1 runs to its iteration limit, every Phase 2 to its epoch limit; FLOPs count "
                  "each parameter once a token, also of a model that takes its window position by position; memory is "
                  "an estimate" + (f"; parameters of {', '.join(built)} were counted on the model, as the family "
                                   "declares no size" if built else ""), style="dim")
    if times:
        console.print(_times(*timed(told, registry, corpus)))


def _table(costs: Sequence[CellCost]) -> Table:
    seeds = len({cost.cell.seed for cost in costs}) > 1
    numbers = ("samples", "tokens", *(["seed"] if seeds else []), "parameters 1 + 2", "FLOPs", "memory")
    made = table([("variant", "l"), *((heading, "r") for heading in numbers)])
    for cost in costs:
        cell = cost.cell
        made.add_row(
            Text(cell.title), f"{cell.num_samples:,}", f"{cell.train_tokens:,}", *([str(cell.seed)] if seeds else []),
            f"{cost.params_phase1:,} + {cost.params_phase2:,}", f"{cost.flops:.1e}", gib(cost.memory),
        )
    return made


def _times(costs: Sequence[CellCost], said: str) -> str:
    from cvfp_core.results.numbers import duration

    seconds = [cost.seconds for cost in costs if cost.seconds is not None]
    if not seconds:
        return f"time {said}"
    longest = costs[seconds.index(max(seconds))].cell
    return (f"{duration(sum(seconds))} in one process at most, {duration(max(seconds))} of them for {longest.title} "
            f"with {longest.num_samples} samples; {said}")


def _plain(cost: CellCost) -> dict[str, object]:
    cell = cost.cell
    return {"variant": cell.variant.name, "control": cell.control, "num_samples": cell.num_samples,
            "train_tokens": cell.train_tokens, "seed": cell.seed, "params_phase1": cost.params_phase1,
            "params_phase2": cost.params_phase2, "flops": cost.flops, "memory": cost.memory, "seconds": cost.seconds}
