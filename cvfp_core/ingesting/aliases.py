"""Names that tables use for quantities: `N`, `Loss/val`, `number of params (M)`, `config.n_layer`."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache

import polars as pl

from cvfp_core.ingesting import mapping as columns_mapping
from cvfp_core.schema.quantities import QUANTITIES, Quantity
from cvfp_core.schema.records import Rejection, conform

_SAME = {
    "n": "num", "number": "num", "parameter": "params", "parameters": "params", "param": "params", "token": "tokens",
    "validation": "val", "valid": "val", "eval": "val", "evaluation": "val", "training": "train", "flop": "flops",
    "perplexity": "ppl", "accuracy": "acc", "heldout": "val",
}
"""Words of names that mean the same as another."""
_FILLING = {"of", "the", "final"}
_CONTAINERS = re.compile(r"(?:(?:config|args|hparams|summary|metrics|results|params|model|data)[./])+", re.IGNORECASE)
"""What trackers and nested files put before a name, with a dot or a stroke."""
_POWERS = {"k": 3, "thousand": 3, "m": 6, "mn": 6, "million": 6, "b": 9, "bn": 9, "g": 9, "billion": 9, "giga": 9,
           "t": 12, "tera": 12, "trillion": 12, "p": 15, "peta": 15, "e": 18, "exa": 18, "z": 21, "zetta": 21}
_IN_BRACKETS = re.compile(r"(.*\w)\W*[(\[]\s*([^()\[\]]+?)\s*[)\]]\s*")
"""`params (M)`."""
_AT_THE_END = re.compile(
    r"(.*?[A-Za-z])[ _-](?:in[ _-])?(k|m|mn|b|bn|g|t|thousand|million|billion|trillion)s?", re.IGNORECASE)
"""`tokens_B`, `tokens in billions`."""
_OF_A_LOSS = re.compile(
    r"(.*?[A-Za-z])[ _-](?:in[ _-])?(bits?|nats?)(?:[ _-]?(?:per|/)[ _-]?tok(?:en)?)?", re.IGNORECASE)
"""`loss_bits`, `val loss in bits per token`."""
_PETAFLOP_DAY = 1e15 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """The quantity that a column's name stands for."""

    quantity: Quantity
    rank: int
    """0: the quantity's own name, however it is spelt; then its aliases, the surest first."""
    factor: float | None
    """What its values are multiplied by: 1e6 of `params (M)`; None: the unit is not understood."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Adopted:
    """Records with the quantities that the table has under other names."""

    records: pl.DataFrame
    taken: Mapping[str, str]
    """Quantity -> the column it was read from, with the factor of its unit: `params (M) * 1e+06`."""
    rejected: tuple[tuple[Rejection, str], ...]
    """Values out of the quantity's range, and the columns they stand in."""
    left: tuple[str, ...]
    """What was not taken, and why, one line a column."""


class Names:
    """What columns are called: every name and alias of the quantities there are."""

    def __init__(self, declared: Mapping[str, Quantity]) -> None:
        self.quantities = QUANTITIES | dict(declared)
        self._by_key: dict[str, tuple[Quantity, int]] = {}
        ranked = [(rank, name, quantity) for quantity in self.quantities.values()
                  if quantity.dtype in ("float", "int") for rank, name in enumerate((quantity.name, *quantity.aliases))]
        for rank, name, quantity in sorted(ranked, key=lambda each: each[0]):
            self._by_key.setdefault(_key(name), (quantity, rank))
        self._known: dict[str, Meaning | None] = {}

    def meaning(self, column: str) -> Meaning | None:
        """What the column is, by its name alone; None if nothing that is declared is called so."""
        if column not in self._known:
            self._known[column] = self._of(column)
        return self._known[column]

    def quantity(self, column: str, mapping: Mapping[str, str]) -> Quantity | None:
        """The quantity that the column's cells are of: that of its own name, that it is mapped to, or its meaning."""
        target = next((name for name, source in mapping.items() if source.strip("`") == column), column)
        known = self.quantities.get(target) or self.quantities.get(column)
        meaning = None if known else self.meaning(column)
        return known or (meaning.quantity if meaning else None)

    def is_metric(self, column: str) -> bool:
        """Whether the column is a metric that somebody declared."""
        meaning = self.meaning(column)
        return meaning is not None and meaning.quantity.kind == "metric"

    def _of(self, column: str) -> Meaning | None:
        made = [Meaning(quantity=found[0], rank=found[1], factor=1.0)] if (
            found := self._by_key.get(_key(column))) else []
        for form in (_IN_BRACKETS, _AT_THE_END, _OF_A_LOSS):
            match = form.fullmatch(column)
            found = match and self._by_key.get(_key(match[1]))
            if match and found and (form is _IN_BRACKETS or (
                    found[0].unit.startswith("nat") if form is _OF_A_LOSS else found[0].kind == "size")):
                unit = Meaning(quantity=found[0], rank=found[1], factor=_factor(match[2], found[0]))
                made = [unit, *made] if unit.factor is not None else [*made, unit]
        return made[0] if made else None


def names_of(declared: Mapping[str, Quantity]) -> Names:
    """What columns are called where plugins declare these quantities beside those there are."""
    return _names_of(tuple(declared.items()))


@cache
def _names_of(declared: tuple[tuple[str, Quantity], ...]) -> Names:
    return Names(dict(declared))


def adopt(records: pl.DataFrame, given: Collection[str], mapping: Mapping[str, str], names: Names,
          known: Collection[str] = ()) -> Adopted:
    """The records with quantities that the table has under other names set beside, through the gate.

    given: the columns of the table. A quantity that the table has, or that follows from one it has, is left alone, and
    so is a column that the user's mapping reads. known: columns whose meaning the ingester knows already.
    """
    read = columns_mapping.columns_read(mapping, given)
    candidates: dict[str, list[tuple[int, float, str]]] = {}
    left = []
    for column in records.columns:
        if column in names.quantities or column in read or column in known or column.startswith("_"):
            continue
        meaning = names.meaning(column)
        if meaning is None or meaning.quantity.name in given or records[column].is_null().all() or any(
                rule.plainly_from(given) for rule in meaning.quantity.follows):
            continue
        if meaning.factor is None or not _holds_numbers(records[column]):
            why = "its unit is not known" if meaning.factor is None else "it holds no numbers"
            left.append(f"{column} is not read as {meaning.quantity.name}, as {why}")
            continue
        candidates.setdefault(meaning.quantity.name, []).append((meaning.rank, meaning.factor, column))
    if not candidates:
        return Adopted(records=records, taken={}, rejected=(), left=tuple(left))
    taken, columns = {}, {}
    for name in (name for name in names.quantities if name in candidates):
        (_, factor, column), *others = sorted(candidates[name], key=lambda each: each[0])
        taken[name], columns[name] = column if factor == 1 else f"{column} * {factor:g}", column
        left += [f"{other} is not read as {name}, as {column} is" for _, _, other in others]
        records = records.with_columns(_times(records[column], factor).alias(name))
    made = conform(records, names.quantities, derived=False, whole=False)
    return Adopted(records=made.records, taken=taken, left=tuple(left),
                   rejected=tuple((each, columns.get(each.column, each.column)) for each in made.rejected))


def _holds_numbers(values: pl.Series) -> bool:
    """Whether any value is a number; a text that is none beside them is for the gate to refuse."""
    return values.dtype.is_numeric() or (
        values.dtype == pl.String and values.cast(pl.Float64, strict=False).null_count() < len(values))


def _times(values: pl.Series, factor: float) -> pl.Series:
    """The values in the quantity's unit; texts as they are, for the gate to refuse."""
    if values.dtype != pl.String:
        return values if factor == 1 else values * factor
    numbers = values.cast(pl.Float64, strict=False)
    mixed = [text if number is None else number * factor for text, number in zip(values, numbers, strict=True)]
    return pl.Series(values.name, mixed, dtype=pl.Object)


@cache
def _key(name: str) -> str:
    """The words of a name in order of the alphabet; a single letter as it is, for `N` is no `n`."""
    if len(name) == 1:
        return name
    name = name[match.end():] if (match := _CONTAINERS.match(name)) else name
    if len(name) == 1:
        return name
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.replace("held-out", "heldout")).lower()
    words = [_SAME.get(word, word) for word in re.findall(r"[^\W\d_]+|\d+", parted)]
    return " ".join(sorted(word for word in words if word not in _FILLING) or words)


def _factor(unit: str, quantity: Quantity) -> float | None:
    """What a value in the unit is multiplied by; None for a unit that is not understood."""
    text = unit.lower().replace("10^", "1e").replace("10**", "1e").strip("x×* ").removeprefix("in ")
    if quantity.percent:
        return {"%": 0.01, "percent": 0.01, "fraction": 1.0}.get(text)
    if quantity.unit.startswith("nat"):
        return {"nat": 1.0, "nats": 1.0, "bit": math.log(2), "bits": math.log(2)}.get(text)
    if quantity.kind != "size":
        return 1.0 if text == quantity.unit else None
    if re.fullmatch(r"1e\+?\d{1,2}", text):
        return float(text)
    if re.fullmatch(r"(?:pf|pflops?|petaflops?|petaflop/s)[ -]*days?", text):
        return _PETAFLOP_DAY
    prefix = re.sub(r"[ -]*(?:flops?|tokens?|params?|parameters?)$", "", text)
    power = 0 if not prefix else _POWERS.get(prefix, _POWERS.get(prefix.removesuffix("s")))
    return None if power is None else 10.0**power
