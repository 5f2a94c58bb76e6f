"""`cvfp run --dry-run`: what a grid would cost, from a short calibration on this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cvfp_core.registry import Registry
from cvfp_core.registry.kinds import Corpus
from cvfp_core.results.numbers import duration
from cvfp_core.running.costs import costs
from cvfp_core.schema.cells import Cell


def print_costs(cells: Sequence[Cell], registry: Registry, corpus: Corpus, *, json_: bool) -> None:
    """Prints every cell with tokens, parameters, and upper bounds of FLOPs and time."""
    told = costs(cells, registry, corpus)
    if json_:
        print(json.dumps([{
            "variant": each.cell.variant.name, "control": each.cell.control, "num_samples": each.cell.num_samples,
            "train_tokens": each.cell.train_tokens, "seed": each.cell.seed, "params_phase1": each.params_phase1,
            "params_phase2": each.params_phase2, "flops": each.flops, "seconds": each.seconds} for each in told],
            indent=1))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    seeds = len({cell.seed for cell in cells}) > 1
    table.add_column("variant", header_style="bold", overflow="fold")
    for heading in ("samples", "tokens", *(["seed"] if seeds else []), "parameters 1 + 2", "FLOPs at most",
                    "time at most"):
        table.add_column(heading, justify="right", header_style="bold")
    for each in told:
        cell = each.cell
        table.add_row(
            Text(f"{cell.variant.name}, {cell.control}" if cell.control else cell.variant.name),
            f"{cell.num_samples:,}", f"{cell.train_tokens:,}", *([str(cell.seed)] if seeds else []),
            f"{each.params_phase1:,} + {each.params_phase2:,}", f"{each.flops:.1e}", duration(each.seconds),
        )
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"{len(cells)} cells on {cells[0].device}, validation {len(corpus.val_tokens):,} tokens, vocabulary "
        f"{corpus.vocab_size:,}: {sum(each.flops for each in told):.1e} FLOPs, "
        f"{duration(sum(each.seconds for each in told))} in one process at most"
    )
    console.print("at most: every Phase 1 runs to its iteration limit, every Phase 2 to its epoch limit; time from a "
                  "calibration of a few seconds on this machine; FLOPs count each parameter once a token, also of a "
                  "model that takes its window position by position", style="dim")
