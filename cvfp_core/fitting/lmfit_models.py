"""Laws as lmfit models, and lmfit models as laws. lmfit is imported only when one of these is called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cvfp_core.errors import CvfpError
from cvfp_core.fitting.curve_fit import in_space
from cvfp_core.registry.guard import tidy
from cvfp_core.registry.kinds import Law, Parameter
from cvfp_core.schema.fits import Fit, Points
from cvfp_core.schema.quantities import QUANTITIES

if TYPE_CHECKING:
    import lmfit


def is_model(value: object) -> bool:
    """Whether it is an lmfit model, said without importing lmfit."""
    return all(hasattr(value, name) for name in ("make_params", "independent_vars", "param_names", "eval"))


def resolved(law: Law) -> Law:
    """The law with the function and parameters of its lmfit model, if it is given by one.

    What is wrong with the model is raised by the law's `fit`, so that it is one law that cannot be fitted.
    """
    if law.model is None or law.function is not None:
        return law
    try:
        with tidy():
            model = law.model()
        if not is_model(model):
            raise TypeError(f"model must return an lmfit model, not {model!r:.60}")
        taken = from_model(model, name=law.name, title=law.title, form=law.form, floor=law.floor)
    except BaseException as error:
        return replace(law, model=None, fit=_raising(error))
    inputs = taken.inputs if law.inputs == ("train_tokens",) else law.inputs
    over = taken.function
    assert over is not None
    return replace(law, function=lambda **values: over(**dict(zip(taken.inputs, (values.pop(n) for n in inputs),
                                                                  strict=True)), **values),
                   parameters=taken.parameters, inputs=inputs, starts=taken.starts,
                   scope=law.scope if len(inputs) == 1 else "records")


def _raising(error: BaseException) -> Callable[[Points, Mapping[str, Any]], Sequence[Fit]]:
    def fit(_points: Points, _options: Mapping[str, Any]) -> Sequence[Fit]:
        raise error

    return fit


def from_model(model: lmfit.Model, *, name: str | None = None, title: str = "", form: str | None = None,
               floor: str | None = None, response: str = "val_ppl") -> Law:
    """A law from an lmfit model: its independent variables are the inputs, its hints the bounds and starts.

    A single variable that is no quantity, such as `x`, stands for training tokens or what `--x` names. Parameters that
    do not vary are constants, those with an expression follow from the others.
    """
    hints = model.make_params()
    free = [each for each in model.param_names if hints[each].vary and hints[each].expr is None]
    fixed = {each: hints[each].value for each in model.param_names if not hints[each].vary and not hints[each].expr}
    variables = tuple(model.independent_vars)
    inputs = ("train_tokens",) if len(variables) == 1 and variables[0] not in QUANTITIES else variables

    def function(**values: Any) -> Any:
        given = {each: values[each] for each in free} | fixed
        at = dict(zip(variables, (values[each] for each in inputs), strict=True))
        return model.eval(**at, **_with_expressions(hints, given))

    def starts(**inputs: Any) -> dict[str, Any]:  # noqa: ARG001
        made = {}
        for each in free:
            low, high, value = hints[each].min, hints[each].max, hints[each].value
            if np.isfinite(value) and not (np.isfinite(low) and np.isfinite(high)):
                axis = np.concatenate([value + scale * max(abs(value), 1e-3) * np.array([-1.0, 1.0])
                                       for scale in (0.1, 0.5, 1.0, 3.0, 10.0)])
                made[each] = np.unique(np.clip([value, *axis], low, high))
        return made

    return Law(
        name=name or model.name, title=title, form=form or model.name, function=function, floor=floor, inputs=inputs,
        response=response, model=lambda: model, starts=starts,
        parameters=tuple(Parameter(name=each, minimum=hints[each].min, maximum=hints[each].max) for each in free),
    )


def _with_expressions(hints: lmfit.Parameters, given: dict[str, Any]) -> dict[str, Any]:
    """The parameters with those that lmfit's expressions define, for arrays of values at once."""
    waiting = {name: hint.expr for name, hint in hints.items() if hint.expr}
    if not waiting:
        return given
    evaluate: Callable[[str], Any] = hints._asteval
    table = hints._asteval.symtable
    before = {name: table.get(name) for name in (*given, *waiting)}
    try:
        table.update(given)
        for _ in range(len(waiting)):  # an expression may use what another defines
            for name, expression in waiting.items():
                table[name] = evaluate(expression)
        return given | {name: table[name] for name in waiting}
    finally:
        table.update(before)


def as_model(law: Law) -> lmfit.Model:
    """An lmfit model of the law in the space of its residuals, with the law's bounds as parameter hints."""
    import lmfit

    function = law.function
    if function is None:
        raise CvfpError(f"law '{law.name}' has no function, so there is no lmfit model of it")

    def in_residual_space(**values: Any) -> Any:
        return in_space(law, function(**values))

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = [*law.inputs, *(parameter.name for parameter in law.parameters)]
    in_residual_space.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore[attr-defined]
    model = lmfit.Model(in_residual_space, independent_vars=list(law.inputs), name=law.name)
    for parameter in law.parameters:
        model.set_param_hint(parameter.name, min=parameter.minimum, max=parameter.maximum)
    return model


def to_lmfit(fit: Fit, law: Law) -> Any:
    """lmfit's own `ModelResult` from the fit's optimum: its report, covariance and correlations, and a check."""
    if fit.points is None or not fit.usable:
        raise CvfpError(f"{fit.series}: {fit.law} has no optimum to hand to lmfit: {fit.reason or fit.status}")
    model = as_model(law)
    start = model.make_params(**{p.name: fit.value(p.name) for p in law.parameters})
    for estimate in fit.estimates:
        start[estimate.name].vary = estimate.method != "given"
    weights = None if fit.points.weights is None else np.sqrt(fit.points.weights)
    with np.errstate(all="ignore"):
        return model.fit(in_space(law, fit.points.response), start, weights=weights, method="least_squares",
                         nan_policy="omit", **fit.points.inputs)


lmfit_result = to_lmfit
"""The name of 0.1.0."""
