"""Writes docs/quantities.md from the declarations of `cvfp_core.schema.quantities`.

    python docs/make_quantities_md.py
"""

from __future__ import annotations

from pathlib import Path

from cvfp_core.schema.quantities import QUANTITIES, Quantity

FILE = Path(__file__).parent / "quantities.md"
HEAD = """\
# Quantities

What a run has, and the columns of a record under their names. A value that was not measured is null. Any other column
that holds numbers can be an axis or a metric too; a plugin declares its own by `cvfp_quantities`
([hooks.md](hooks.md#quantity)), and then they have a range, aliases and a meaning as these have.

A table's column counts as a quantity if it has its name, or one of its aliases where the table has no column of the
name: then the quantity is set beside, and the column stays. Neither capitals and punctuation nor the order of words
count in names of two letters or more, and a unit may stand behind: `Loss/val`, `Model Size (M)`, `tokens_B`, `FLOPs
(PF-days)`. *Follows* says what fills a quantity that was not measured; the column `derived` of a record names
what was filled. `phase2.epochs` is the setting of that name in `settings`. "with phases" is of runs of the two-phase
protocol, which have their own count of FLOPs, and "6ND" of other records whose `flops_convention` is `6ND`:
`--map "flops_convention='6ND'"` says so of a table.

Where `phase2_censored` is true, training was cut short: the losses, perplexities and accuracy are limits. Tables mark
them with †, fits and forecasts count them, and each finding that rests on them says what it would be without.

`train_tokens` counts a token of the corpus once, however often it is seen, `tokens_seen` as often as it is seen. A
law of D is one of `train_tokens`, unless `--x tokens_seen` or `--map train_tokens=tokens_seen` says otherwise.

This page is made from the program by `docs/make_quantities_md.py`.
"""
KINDS = {
    "identity": "Which run it is", "size": "Sizes", "setting": "Settings and data", "metric": "Metrics",
    "cost": "Costs", "provenance": "Where the record comes from",
}


def main() -> None:
    FILE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The page as it should be."""
    lines = [HEAD]
    for kind, title in KINDS.items():
        lines += [f"## {title}", "", "| Column | Meaning | Unit | Values | Better | Follows | Aliases |",
                  "|---|---|---|---|---|---|---|"]
        lines += [_row(each) for each in QUANTITIES.values() if each.kind == kind]
        lines.append("")
    return "\n".join(lines)


def _row(quantity: Quantity) -> str:
    values = {"str": "text", "bool": "true or false", "int": "whole", "float": "number"}[quantity.dtype]
    limits = quantity.range.removeprefix("be ")
    follows = "; ".join(
        f"`{each.expression}`" + (" with phases" if each.phases else "")
        + (f" by {each.convention}" if each.convention else "") for each in quantity.follows)
    cells = (f"`{quantity.name}`", quantity.meaning, quantity.unit, f"{values}, {limits}" if limits else values,
             quantity.better or "", follows, ", ".join(f"`{alias}`" for alias in quantity.aliases))
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
