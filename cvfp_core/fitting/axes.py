"""Which quantities a law is a function of, as asked for: its own, others in their place, those that options name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cvfp_core.errors import UsageError
from cvfp_core.registry.kinds import ENVELOPE, Law
from cvfp_core.schema.settings import Scalar


def filled(law: Law, options: Mapping[str, Scalar | None]) -> Law:
    """The law with the quantities that its options name in their places, and by the envelope that is asked for."""
    names = {name: str(value) for name, value in options.items()}
    form = law.form
    for name, value in names.items():
        form = form.replace(f"{{{name}}}", value)
    if (above := options.get(ENVELOPE.name)) is not None and law.fit is None:
        if not 0 < float(above) <= 1:
            raise UsageError(f"{ENVELOPE.name} must be above 0 and at most 1, not {above}")
        law = replace(law, loss=replace(law.loss, above=float(above)))
    return replace(law, inputs=tuple(each.format(**names) for each in law.inputs), form=form,
                   response=law.response.format(**names))


def on_axes(law: Law, x: str | None = None, y: str | None = None) -> Law:
    """The law over `x` in place of its input, of `y` in place of its response.

    Raises UsageError for an `x` where the law has several inputs, which are what it is about, or that `y` is too.
    """
    if y is not None and y != law.response:
        if "{" in law.response:
            raise UsageError(f"the response of law '{law.name}' is given by an option; see `cvfp laws`")
        law = replace(law, response=y, form=_renamed(law.form, ("PPL", "L(N, D)", law.response), y))
    if x is not None and x == law.response:
        raise UsageError(f"--x {x} --y {x}: a law explains one quantity by another; name two")
    if x is None or law.inputs == (x,):
        return law
    if len(law.inputs) > 1 or "{" in law.inputs[0]:
        needs = ", ".join(law.inputs)
        raise UsageError(f"--x {x}: law '{law.name}' is a function of {needs}; its inputs cannot be renamed, map your "
                         f"columns to them: --map {law.inputs[0]}={x}")
    own = law.inputs[0]
    return replace(law, inputs=(x,), function=_over(law.function, own, x), starts=_over(law.starts, own, x),
                   form=_renamed(law.form, (own, "tokens"), x))


def _over(function: Any, own: str, x: str) -> Any:
    return None if function is None else _Over(function=function, own=own, x=x)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Over:
    """The function of another input; a value, so that a law over the same axis twice is the same law."""

    function: Any
    own: str
    x: str

    def __call__(self, **values: Any) -> Any:
        return self.function(**{self.own: values.pop(self.x)}, **values)


def _renamed(form: str, words: tuple[str, ...], name: str) -> str:
    """The form with the name in place of these words."""
    every = "|".join(re.escape(word) for word in words)
    return re.sub(rf"(?<!\w)(?:{every})(?!\w)", name, form)
