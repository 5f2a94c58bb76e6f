"""Writes docs/law-list.md and the figures in docs/laws/ from the laws that come with cvfp.

    python docs/make_law_list_md.py

A figure shows the shape of a law, at the parameters and sizes at which the tests recover it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cvfp_core.cli.laws import whole
from cvfp_core.registry import Registry, load
from cvfp_core.registry.kinds import Law
from cvfp_core.reporting.figures.colours import colour
from cvfp_core.reporting.figures.curves import axis, label
from cvfp_core.reporting.figures.marks import Array, Axis, Line, Panel, Plot
from cvfp_core.reporting.figures.paint import written
from cvfp_core.reporting.figures.places import written as numbers
from cvfp_core.schema.quantities import Quantity

FILE = Path(__file__).parent / "law-list.md"
FIGURES = Path(__file__).parent / "laws"
LEVELS = 4
HEAD = """\
# Every law

The laws that come with cvfp: form, source, where each holds and where it does not, and its shape at parameters of a
size that was published or is usual. `cvfp laws NAME` prints the same in a terminal; [Laws](laws.md) says how laws
are fitted, chosen and written.

Sources that say "cvfp, after ..." are of forms that are not as published: on published tables a back-test on the
smaller sizes preferred them, and they then predicted the largest better (`benchmarks/published.py`), or they are a
published form turned round or pinned. Where no law is named, forecasts and reports try the *automatic* ones only.

N is `params` (in `moe` laws `dense_params`), D `train_tokens` or, where tokens repeat, `tokens_seen`, U
`unique_tokens`, V `vocab_size`, H `num_characters`. A law of `train_tokens` that is given runs with fewer
`unique_tokens` says so: it takes repeated tokens for fresh ones.

This page is made from the program by `docs/make_law_list_md.py`.
"""
TOKENS = np.geomspace(1e4, 1e9, 60)
FLOOR = {"E": 20.0, "A": 2e4, "alpha": -0.5}
REPEATED = {"params": np.geomspace(1e7, 4e9, 40), "tokens_seen": 1e9 * 4.0 ** np.arange(LEVELS),
            "unique_tokens": np.array([1e9])}
SHAPES: dict[str, tuple[Mapping[str, float], Mapping[str, Array]]] = {
    "power-law": ({"A": 2e4, "alpha": -0.4}, {"train_tokens": TOKENS}),
    "saturating": (FLOOR, {"train_tokens": TOKENS}),
    "pinned-floor": (FLOOR, {"train_tokens": TOKENS}),
    "exp-decay": ({"E": 20.0, "A": 900.0, "b": 0.06, "c": 0.3}, {"train_tokens": TOKENS}),
    "hill": ({"E": 20.0, "A": 900.0, "t0": 3e6, "b": 0.9}, {"train_tokens": TOKENS}),
    "ceiling": ({"E": 0.45, "A": 5.0, "alpha": -0.3}, {"train_tokens": TOKENS}),
    "chinchilla": ({"E": 1.82, "A": 478.0, "alpha": 0.347, "B": 2143.0, "beta": 0.367},
                   {"params": np.geomspace(1e7, 1e10, 40), "train_tokens": np.geomspace(1e9, 1e12, LEVELS)}),
}
"""Parameters and inputs of the laws that the tests know by other means; those of the published ones are the tests'."""


def _windows(train_tokens: Array, width: int = 16) -> Array:
    """Local exponents of the saturating law, over windows of consecutive sizes."""
    ppl = FLOOR["E"] + FLOOR["A"] * train_tokens ** FLOOR["alpha"]
    starts = [min(max(i - width // 2, 0), len(train_tokens) - width) for i in range(len(train_tokens))]
    return np.array([np.polyfit(np.log(train_tokens[i:i + width]), np.log(ppl[i:i + width]), 1)[0] for i in starts])


RANKS = np.array([0.7, 0.75, 0.8, 0.85])
CODE: Mapping[str, tuple[Callable[..., Any], Mapping[str, Array]]] = {
    "sliding-window": (_windows, {"train_tokens": TOKENS}),
    "log-linear-er": (lambda train_tokens, val_er: np.exp(-0.45 * np.log(train_tokens) - 2 * val_er + 12),
                      {"train_tokens": TOKENS, "val_er": RANKS}),
    "linear-er": (lambda val_er: 500 - 400 * val_er, {"val_er": RANKS}),
    "new-configuration": (lambda train_tokens, val_er: np.exp(
        12 - 0.45 * np.log(train_tokens) + 0.02 * np.log(train_tokens / TOKENS[30]) ** 2 - 2 * val_er),
        {"train_tokens": TOKENS, "val_er": RANKS}),
}
"""Laws that are code, whose form is written here once more to be drawn, with their inputs."""


def main() -> None:
    registry = load(only=(), disabled=()).require_healthy()
    FILE.write_text(page(registry), encoding="utf-8")
    FIGURES.mkdir(exist_ok=True)
    for law in registry.items(Law).values():
        (FIGURES / f"{law.name}.svg").write_text(figure(law, registry), encoding="utf-8")


def page(registry: Registry) -> str:
    """The page as it should be."""
    return "\n".join([HEAD, *(line for law in registry.items(Law).values() for line in _section(law, registry))])


def _section(law: Law, registry: Registry) -> list[str]:
    (_, title), *rows = whole(law, registry)
    told = [f"| {heading} | {_cell(heading, text)} |" for heading, text in rows if heading != "from"]
    tried = "yes" if law.automatic else f"no; `--law {law.name}`"
    image = f"![{law.name}: {title}](laws/{law.name}.svg)"
    return [f"## {law.name}", "", f"{title[0].upper()}{title[1:]}.", "", image, "", told[0], "|---|---|", *told[1:],
            f"| automatic | {tried} |", ""]


def _cell(heading: str, text: str) -> str:
    text = text.replace("|", "\\|")
    return f"`{text}`" if heading == "form" else text.replace("\n", "<br>")


def figure(law: Law, registry: Registry) -> str:
    """The law over its first input, a line for each of a few values of the second; the others in the middle. SVG."""
    if law.name in CODE:
        function, inputs = CODE[law.name]
    else:
        parameters, inputs = (SHAPES | _tested())[law.name]
        inputs = REPEATED if set(inputs) == set(REPEATED) else inputs
        assert law.function is not None
        function = lambda **each: law.function(**each, **parameters)  # type: ignore[misc]  # noqa: E731
    x, *others = (registry.quantity(name) for name in inputs)
    y = registry.quantity(law.response)
    along = inputs[x.name]
    low, high = float(along[along > 0].min()), float(along.max())
    along = np.geomspace(low, high, 80) if x.scale == "log" and low > 0 else np.linspace(low, high, 80)
    middle = {each.name: np.median(inputs[each.name]) for each in others}
    second = others[0] if others else None
    levels = _levels(inputs[second.name]) if second else np.zeros(1)
    names = numbers([float(f"{_shown(second, each):.3g}") for each in levels]) if second else [""]
    lines = []
    for index, (level, name) in enumerate(zip(levels, names, strict=True)):
        values = np.asarray(function(**{x.name: along} | middle | ({second.name: level} if second else {})))
        lines.append(Line(x=_shown(x, along), y=_shown(y, values), colour=colour(index), name=name))
    up = axis(y, [each.y for each in lines], str)
    panel = Panel(marks=tuple(lines), x=axis(x, [lines[0].x], str), legend=label(second, str) if second else None,
                  y=Axis(label="alpha of the window") if law.name == "sliding-window" else up)
    return str(written(Plot(panels=(panel,), width=4.2, height=2.4), "svg"))


def _shown(quantity: Quantity, value: Any) -> Any:
    """As an axis shows it: fractions as percentages."""
    return value * 100 if quantity.percent else value


def _levels(values: Array) -> Array:
    """A few of the values, from the least to the largest."""
    distinct = np.unique(values)
    return distinct[np.unique(np.linspace(0, len(distinct) - 1, LEVELS).round().astype(int))]


def _tested() -> dict[str, tuple[Mapping[str, float], Mapping[str, Array]]]:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from published_laws import TRUTHS

    return TRUTHS


if __name__ == "__main__":
    main()
