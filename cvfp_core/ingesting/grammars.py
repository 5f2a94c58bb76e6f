"""What a console log prints, declared as line patterns that name quantities. `console` reads by it; light to import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from cvfp_core.registry.kinds import Ingester
from cvfp_core.registry.lazy import lazy


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grammar:
    """The console log of one program: a history of one run, or of runs one after the other.

    A pattern is text as it is printed, found anywhere in a line, so that timestamps, ranks and log levels before it do
    not matter. In it `{name}` is a number (thousands commas, exponents, `124.34M`) kept under that name, `{}` a word or
    number that is not kept, `...` anything, and a blank any blanks. `^` first: nothing but blanks stands before it.

        Grammar(name="mine", title="console log of mine",
                points=("step {step} of {steps}: loss {loss}", "step {step}: held-out loss {val_loss}"),
                facts=("model has {params} parameters", "{batch_tokens} tokens a step"),
                follows=("tokens_seen = step * batch_tokens",)).ingester()
    """

    name: str
    title: str
    points: tuple[str, ...]
    """What is printed again and again: `{step}`, and values there. A line without `{step}` is of the step before it.

    `{steps}` is how many there will be; beside an `{epoch}` steps may begin anew with it. `{key}` with `{value}` keeps
    a number under the name printed before it, `{key:eval/}` if it begins so. Values of names like `val_loss`,
    `eval/loss`, `loss` are read as metrics.
    """
    facts: tuple[str, ...] = ()
    """What is printed once: sizes and settings. `{+name}` is added up over lines that differ in their `{}`."""
    follows: tuple[str, ...] = ()
    """Quantities that follow where they are not printed: `tokens_seen = step * batch_tokens`; the first that can be."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Of a `{key}`: printed name -> the name it is kept under; `*` stands for any part."""
    signs: tuple[str, ...] = ()
    """Patterns of which a file of this form holds one; by default the points with `{step}` and something else."""
    counted_by: str | None = None
    """The value that tells points apart where no step is printed: `epoch`; points are then numbered."""
    ahead: int = 0
    """Steps by which a line without `{step}` is ahead of the last one printed: 1 if steps are printed from 0."""
    parts: tuple[str, ...] = ()
    """Facts whose product says how many lines `{+name}` must be added up over; else it is not known."""

    def __post_init__(self) -> None:
        lacking = [text for text in self.follows if text.count(" = ") != 1]
        if lacking:
            raise ValueError(f"grammar '{self.name}': follows takes 'quantity = expression', not '{lacking[0]}'")
        if not self.recognised_by:
            raise ValueError(f"grammar '{self.name}': no point has {{step}} and a value; say in signs what tells its "
                             "logs apart")

    @property
    def recognised_by(self) -> tuple[str, ...]:
        """The patterns of which a file of this form holds one."""
        return self.signs or tuple(text for text in self.points if "{step}" in text and text.count("{") > 1)

    def ingester(self) -> Ingester:
        """The ingester that reads such logs."""
        return Ingester(name=self.name, title=self.title,
                        matches=partial(lazy("cvfp_core.ingesting.console:matches"), self),
                        read=partial(lazy("cvfp_core.ingesting.console:read"), self),
                        near=partial(lazy("cvfp_core.ingesting.console:near"), self))
