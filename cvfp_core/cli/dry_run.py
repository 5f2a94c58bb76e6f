"""`cvfp run --dry-run`: what a grid would cost, by arithmetic; then its time, from a short calibration."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from cvfp_core.cli.screen import say, show_json
from cvfp_core.registry.kinds import VariantFamily
from cvfp_core.results.printed import table, terminal
from cvfp_core.running.costs import EPOCHS, ITERATIONS, CellCost, costs, gib, timed, too_large
from cvfp_core.running.run import unfinished

if TYPE_CHECKING:
    from cvfp_core.running.run import Prepared


def print_costs(prepared: Prepared, *, times: bool, json_: bool) -> None:
    """Prints every cell with tokens, parameters, FLOPs at most and memory; then the time of those left, if it is asked.

    Raises UsageError for what the run itself would refuse.
    """
    registry, corpus, left = prepared.registry, prepared.corpus, {cell.run_id for cell in unfinished(prepared)}
    told = costs(prepared.cells, registry, corpus)
    ahead = tuple(cost for cost in told if cost.cell.run_id in left)
    if warning := too_large(ahead):
        say(warning)
    if json_:
        ahead, said = timed(ahead, registry, corpus) if times and ahead else (ahead, "")
        known = {cost.cell.run_id: cost for cost in ahead}
        show_json([{**_plain(known.get(cost.cell.run_id, cost)), "finished": cost.cell.run_id not in left}
                   for cost in told])
        if said and ahead[0].seconds is None:
            say(f"time {said}")
        return
    console = terminal()
    console.print(_table(told, left))
    done = len(told) - len(ahead)
    console.print(
        f"{len(told)} {'cell' if len(told) == 1 else 'cells'} on {told[0].cell.device}"
        f"{f', {done} of them finished' if done else ''}, validation {len(corpus.val_tokens):,} tokens, vocabulary "
        f"{corpus.vocab_size:,}: " + (
            f"{sum(cost.flops for cost in ahead):.1e} FLOPs at most{' for the rest' if done else ''}, "
            f"{gib(max(cost.memory for cost in ahead))} a process at most" if ahead else "nothing is left to run")
    )
    built = [name for name, family in registry.items(VariantFamily).items()
             if family.size is None and any(cost.cell.variant.family == name for cost in told)]
    console.print("at most: every Phase 1 runs to its iteration limit, every Phase 2 to its epoch limit; FLOPs count "
                  "each parameter once a token, also of a model that takes its window position by position; memory is "
                  "an estimate" + (f"; parameters of {', '.join(built)} were counted on the model, as the family "
                                   "declares no size" if built else ""), style="dim")
    if times and ahead:
        console.print(_times(*timed(ahead, registry, corpus)))


def _table(costs: Sequence[CellCost], left: Collection[str]) -> Table:
    seeds = len({cost.cell.seed for cost in costs}) > 1
    some_done = any(cost.cell.run_id not in left for cost in costs)
    numbers = ("samples", "tokens", *(["seed"] if seeds else []), "parameters 1 + 2", "FLOPs", "memory")
    made = table([("variant", "l"), *((heading, "r") for heading in numbers), *([("", "l")] if some_done else [])])
    for cost in costs:
        cell = cost.cell
        made.add_row(
            Text(cell.title), f"{cell.num_samples:,}", f"{cell.train_tokens:,}", *([str(cell.seed)] if seeds else []),
            f"{cost.params_phase1:,} + {cost.params_phase2:,}", f"{cost.flops:.1e}", gib(cost.memory),
            *(["" if cell.run_id in left else "finished"] if some_done else []),
        )
    return made


def _times(costs: Sequence[CellCost], said: str) -> str:
    from cvfp_core.results.numbers import duration

    seconds = [cost.seconds for cost in costs if cost.seconds is not None]
    if not seconds:
        return f"time {said}"
    longest = costs[seconds.index(max(seconds))].cell
    typical = duration(sum(cost.seconds_typical or 0.0 for cost in costs))
    return (f"about {typical} in one process, where Phase 1 takes {ITERATIONS} iterations and Phase 2 {EPOCHS} epochs "
            f"as the default grid does on average; {duration(sum(seconds))} at most, {duration(max(seconds))} of them "
            f"for {longest.title} with {longest.num_samples} samples; {said}")


def _plain(cost: CellCost) -> dict[str, object]:
    cell = cost.cell
    return {"variant": cell.variant.name, "control": cell.control, "num_samples": cell.num_samples,
            "train_tokens": cell.train_tokens, "seed": cell.seed, "params_phase1": cost.params_phase1,
            "params_phase2": cost.params_phase2, "flops": cost.flops, "memory": cost.memory, "seconds": cost.seconds,
            "seconds_typical": cost.seconds_typical}
