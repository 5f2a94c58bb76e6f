"""The Markdown reports that come with cvfp, registered like anyone's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Option, Template
from cvfp_core.registry.lazy import lazy

_HERE = Path(__file__).parent
_LOCALE = _HERE / "locale"
_EXPERIMENTS = Option(name="experiments", default=None, help="report on these only, such as v1,v2 [default: all]")

_BUDGETS = (
    Option(name="flops", default=None, help="budgets, such as 1e21 or '1e21,1e22' [default: ten times the largest "
                                            "run's]"),
    Option(name="convention", default="6ND", help="how FLOPs are counted: 6ND, 6ND-non-embedding or a column"),
    Option(name="constraint", default=None, help="limits, such as 'params<=3e9,train_tokens<=2e11'"),
    Option(name="inference_tokens", default=None, help="tokens that will be served", minimum=0),
)


def _template(name: str, title: str, *, needs: tuple[str, ...] = (), options: tuple[Option, ...] = (),
              suits: str | None = None, about: str | None = None) -> Template:
    return Template(name=name, title=title, path=_HERE / f"{name}.md.j2", needs=needs,
                    options=(_EXPERIMENTS, *options), catalogue=_LOCALE,
                    suits=None if suits is None else lazy(suits), about=None if about is None else lazy(about))


@hookimpl
def cvfp_templates() -> Iterable[Template]:
    return [
        _template(
            "phase1-to-ppl", "can Phase 1 predict the perplexity of Phase 2? every claim tested",
            needs=("val_ppl", "train_tokens"),
            options=(
                Option(name="title", default=None, help="the report's title"),
                Option(name="intercept", default=500.0, help="of the line of PPL over ValER(%) that was proposed"),
                Option(name="slope", default=-4.0, help="of that line"),
                Option(name="accuracy", default=0.15, help="error that was said of it, at most"),
                Option(name="effect", default=-0.02, help="of a point of Val ER on log PPL, as was said"),
                Option(name="effect_margin", default=0.01, help="how near to that agrees with it"),
                Option(name="margin", default=0.01, help="change of the error that does not matter", minimum=0),
                Option(name="metrics", default=None, help="of Phase 1, such as val_er,train_er [default: all]"),
                Option(name="examples", default="0.81,0.79", help="Val ER of new configurations to work out"),
                Option(name="trade_off", default="v1,v2", help="experiments to compare variant by variant"),
                Option(name="thresholds", default=None, help="such as val_er.green=0.8,val_er.red=0.75"),
            ),
            suits="cvfp_templates.suits:phases",
        ),
        _template("scaling", "a sweep over sizes: best law, forecasts, compute-optimal sizes, arms", options=_BUDGETS,
                  suits="cvfp_templates.suits:sweep", about="cvfp_core.reporting.sweep:about"),
        _template("summary", "one page: runs and exponents of every series", suits="cvfp_templates.suits:any_runs"),
        _template("audit", "every claim with its verdict, and nothing else", needs=("val_ppl",)),
        _template(
            "compare", "two experiments or variants at equal data, and what differs between them",
            needs=("val_ppl", "train_tokens"),
            options=(
                Option(name="a", default=None, help="an experiment, a variant, or experiment:variant; required"),
                Option(name="b", default=None, help="the other; required"),
            ),
        ),
        _template("objectives", "objectives of Phase 1 at equal data: ranks, perplexities, cost, and whether ranks "
                  "tell", needs=("objective", "val_er", "val_ppl")),
        _template(
            "optimum", "the compute-optimal model for a budget, by three approaches",
            needs=("params", "train_tokens", "val_loss"),
            options=_BUDGETS,
        ),
        _template(
            "plan", "the next runs, one after another, that make a target known best for their FLOPs",
            options=(
                Option(name="target", default=None, help="sizes, such as 'params=7e9,train_tokens=1.4e11', "
                                                         "optimum:1e22 or multiplier; required"),
                Option(name="budget", default=None, help="FLOPs for all runs together, such as 1e20; required"),
                Option(name="cells", default=None, help="runs to choose from, such as 'params=1e8..1e10,train_tokens="
                                                        "1e9..1e11' [default: up to the target]"),
                Option(name="convention", default="6ND",
                       help="how FLOPs are counted: 6ND, 6ND-non-embedding or a column"),
                Option(name="arms", default=None, help="two arms of --by, the baseline first, such as adam,muon"),
            ),
        ),
        _template(
            "forecast", "what runs that are still going will end with, and how far off such forecasts are",
            options=(Option(name="after", default="30%", help="from which of their first steps finished runs are "
                            "forecast, to see how far off that is: 3 or 30%"),),
        ),
        _template("fits", "every law and its checks", needs=("val_ppl", "train_tokens")),
    ]
