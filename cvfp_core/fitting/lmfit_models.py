"""Laws as lmfit models, and lmfit models as laws. lmfit is imported only when one of these is called."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from cvfp_core.errors import CvfpError
from cvfp_core.registry.kinds import Fitter, Parameter
from cvfp_core.schema.fits import Fit

if TYPE_CHECKING:
    import lmfit


def as_model(fitter: Fitter) -> lmfit.Model:
    """An lmfit model of the law's logarithm, with the law's bounds as parameter hints."""
    import lmfit

    function = fitter.function
    if function is None:
        raise CvfpError(f"law '{fitter.name}' has no function, so there is no lmfit model of it")

    def logarithm(**values: Any) -> Any:
        return np.log(function(**values))

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = [*fitter.inputs, *(parameter.name for parameter in fitter.parameters)]
    logarithm.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore[attr-defined]
    model = lmfit.Model(logarithm, independent_vars=list(fitter.inputs), name=fitter.name)
    for parameter in fitter.parameters:
        model.set_param_hint(parameter.name, min=parameter.minimum, max=parameter.maximum)
    return model


def lmfit_result(fit: Fit, fitter: Fitter) -> Any:
    """lmfit's own `ModelResult` from the fit's optimum: its report, covariance and correlations, and a check."""
    if fit.points is None or not fit.usable:
        raise CvfpError(f"{fit.series}: {fit.law} has no optimum to hand to lmfit: {fit.reason or fit.status}")
    model = as_model(fitter)
    start = model.make_params(**{p.name: fit.value(p.name) for p in fitter.parameters})
    for estimate in fit.estimates:
        start[estimate.name].vary = estimate.method != "given"
    with np.errstate(all="ignore"):
        return model.fit(np.log(fit.points.response), start, method="least_squares", nan_policy="omit",
                         **fit.points.inputs)


def from_model(model: lmfit.Model, *, name: str, title: str, form: str, floor: str | None = None) -> Fitter:
    """A law from an lmfit model of perplexity over training tokens; bounds are those of its parameter hints."""
    parameters = model.make_params()
    (variable,) = model.independent_vars

    def function(train_tokens: Any, **values: Any) -> Any:
        return model.eval(**{variable: train_tokens}, **values)

    return Fitter(
        name=name, title=title, form=form, function=function, floor=floor,
        parameters=tuple(Parameter(name=each, minimum=parameters[each].min, maximum=parameters[each].max)
                         for each in model.param_names),
    )
