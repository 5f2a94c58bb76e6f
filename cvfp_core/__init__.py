"""cvfp: scaling-law analysis of language-model experiments. See docs/python.md; ARCHITECTURE.md has the house.

    import cvfp_core as cvfp

    runs = cvfp.read("logs/")
    print(cvfp.predict(runs, at={"train_tokens": "10x"}))
"""

from typing import TYPE_CHECKING

from cvfp_core.version import __version__

if TYPE_CHECKING:
    import pluggy

    from cvfp_core.verbs import compare, fit, forecast, optimum, plan, plot, predict, read, run, write_report

    hookimpl: pluggy.HookimplMarker
    """Marks a function of a plugin as the implementation of a hook."""

__all__ = ["__version__", "compare", "fit", "forecast", "hookimpl", "optimum", "plan", "plot", "predict", "read", "run",
           "write_report"]


def __getattr__(name: str) -> object:
    """The verb of that name, or the marker of hooks, imported when it is first asked for."""
    if name == "hookimpl":
        import pluggy

        return pluggy.HookimplMarker("cvfp")
    if name not in __all__:
        raise AttributeError(f"module 'cvfp_core' has no attribute '{name}'; its verbs are: read, fit, predict, "
                             "write_report, run, plot, optimum, compare, plan, forecast")
    from cvfp_core import verbs

    return getattr(verbs, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
