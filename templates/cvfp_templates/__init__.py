"""The Markdown reports that come with cvfp, registered like anyone's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Option, Template

_HERE = Path(__file__).parent
_LOCALE = _HERE / "locale"
_EXPERIMENTS = Option(name="experiments", default=None, help="report on these only, such as v1,v2 [default: all]")


def _template(name: str, title: str, *, needs: tuple[str, ...] = (), options: tuple[Option, ...] = ()) -> Template:
    return Template(name=name, title=title, path=_HERE / f"{name}.md.j2", needs=needs,
                    options=(_EXPERIMENTS, *options), catalogue=_LOCALE)


@hookimpl
def cvfp_templates() -> Iterable[Template]:
    return [
        _template("summary", "one page: runs and exponents of every series"),
        _template(
            "phase1-to-ppl", "can Phase 1 predict the perplexity of Phase 2? every claim tested",
            needs=("val_ppl", "train_tokens"),
            options=(
                Option(name="title", default=None, help="the report's title"),
                Option(name="intercept", default=500.0, help="of the line of PPL over ValER(%) that was proposed"),
                Option(name="slope", default=-4.0, help="of that line"),
            ),
        ),
        _template("audit", "every claim with its verdict, and nothing else", needs=("val_ppl",)),
        _template(
            "compare", "two experiments or variants at equal data, and what differs between them",
            needs=("val_ppl", "train_tokens"),
            options=(
                Option(name="a", default=None, help="an experiment, a variant, or experiment:variant; required"),
                Option(name="b", default=None, help="the other; required"),
            ),
        ),
        _template(
            "optimum", "the compute-optimal model for a budget, by three approaches",
            needs=("params", "train_tokens", "val_loss"),
            options=(
                Option(name="flops", default=None, help="budgets, such as 1e21 or '1e21,1e22' [default: ten times the "
                                                        "largest run's]"),
                Option(name="convention", default="6ND",
                       help="how FLOPs are counted: 6ND, 6ND-non-embedding or a column"),
                Option(name="constraint", default=None, help="limits, such as 'params<=3e9,train_tokens<=2e11'"),
                Option(name="inference_tokens", default=None, help="tokens that will be served", minimum=0),
            ),
        ),
        _template(
            "forecast", "what runs that are still going will end with, and how far off such forecasts are",
            options=(Option(name="after", default="30%", help="from which of their first steps finished runs are "
                            "forecast, to see how far off that is: 3 or 30%"),),
        ),
        _template("fits", "every law and its checks", needs=("val_ppl", "train_tokens")),
    ]
