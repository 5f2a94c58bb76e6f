"""Reports and figures against what stands in the data: numbers by hand, geometry, pixels."""

import gettext
import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import cvfp_core as cvfp
from cvfp_core.deciding.optimum import optima
from cvfp_core.errors import UsageError
from cvfp_core.ingesting.reading import read
from cvfp_core.registry import installed
from cvfp_core.reporting.figures import curves, places
from cvfp_core.reporting.figures.isoflops import isoflops
from cvfp_core.reporting.figures.marks import Dots, Line
from cvfp_core.reporting.figures.report import plots
from cvfp_core.reporting.figures.vega import spec
from cvfp_core.reporting.view import Facts, _way, view
from cvfp_core.reporting.write import Asked, find, write
from cvfp_core.schema.quantities import QUANTITIES, of

ROOT = Path(__file__).parents[1]
REGISTRY = installed()
SIZES = (10_000, 20_000, 40_000, 80_000, 160_000)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Two variants of five sizes, exact power laws of exponents -0.3 and -0.4; the second reaches the lower PPL."""
    lines = ["experiment,variant,num_samples,train_tokens,val_ppl,val_er"]
    for variant, alpha, rank in (("1L_16d_1tok", 0.3, 0.5), ("1L_32d_1tok", 0.4, 0.7)):
        lines += [f"one,{variant},{size // 1000},{size},{1e5 * size**-alpha:.6f},{rank + number / 100}"
                  for number, size in enumerate(SIZES)]
    file = tmp_path_factory.mktemp("runs") / "runs.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def seen(table, **asked):
    return view(read([table], REGISTRY), REGISTRY, ["series"], **asked)


def test_windows_are_of_neighbouring_sizes_counted_from_one(table):
    for series, alpha in zip(seen(table)["series"], (-0.3, -0.4), strict=True):
        windows = series["windows"]
        width = len(SIZES) - len(windows) + 1
        assert [each["number"] for each in windows] == list(range(1, len(windows) + 1))
        assert [(each["tokens"]["low"], each["tokens"]["high"]) for each in windows] == [
            (SIZES[start], SIZES[start + width - 1]) for start in range(len(windows))]
        assert [each["alpha"]["value"] for each in windows] == pytest.approx([alpha] * len(windows), abs=1e-4)
        assert [each["samples"]["low"] for each in windows] == [size // 1000 for size in SIZES[: len(windows)]]


def test_of_two_series_each_is_marked_by_what_it_is_first_and_last_in(table):
    low, high = (each["marks"] for each in seen(table)["series"])
    assert low
    assert high
    assert not set(low) & set(high)


def test_series_by_other_columns_bear_the_names_of_their_values(table):
    made = seen(table, asked=Asked(by=("num_layers",)))["series"]
    assert [(each["title"], each["name"]) for each in made] == [(each["label"], each["label"]) for each in made]


@pytest.mark.parametrize("given", [{"target": "params=7e9,train_tokens=1e11"}, {"budget": 1e20}, {}])
def test_a_plan_needs_a_target_and_a_budget(table, given):
    with pytest.raises(UsageError, match=r"^runs are planned for a target: give --set target="):
        write(read([table], REGISTRY), find("plan", REGISTRY), REGISTRY, Asked(options=given))


def test_the_way_of_a_law_goes_to_the_farthest_forecast():
    known = pl.Series([1e4, 2e4, None, 1.6e5])
    for at, last in ((["10x"], 1.6e6), ([3e6, "2x"], 3e6), ([], 1.6e5)):
        assert max(_way(known, at, of("train_tokens"))) == pytest.approx(last)
        assert min(_way(known, at, of("train_tokens"))) == pytest.approx(1e4)


@pytest.mark.parametrize(("name", "values", "log"), [
    ("train_tokens", [1e3, 1e5], True), ("train_tokens", [0.0, 1e5], False), ("val_acc", [0.1, 0.9], False)])
def test_an_axis_is_logarithmic_where_the_quantity_is_and_values_are_positive(name, values, log):
    assert (QUANTITIES[name].scale == "log") >= log
    assert curves.axis(QUANTITIES[name], [np.array(values)], str).log is log


def test_a_lonely_label_stands_right_of_its_dot_at_its_height():
    assert places.beside([(50.0, 40.0)], [(20.0, 8.0)], (100.0, 100.0)) == [(55.0, 36.0)]
    assert places.beside([(90.0, 40.0)], [(20.0, 8.0)], (100.0, 100.0)) == [(65.0, 36.0)]


def test_a_picture_in_a_notebook_has_two_pixels_for_each_it_is_shown_with(table):
    from PIL import Image

    picture, said = cvfp.plot(cvfp.fit(table))._repr_png_()
    assert Image.open(io.BytesIO(picture)).size == pytest.approx((2 * said["width"], 2 * said["height"]), abs=2)


def test_the_figure_of_isoflop_sweeps_joins_their_minima_with_the_optima_asked_for():
    runs = cvfp.read(sweep_of(4))
    (sweep,) = optima(runs.records, [1e21], registry=REGISTRY)
    (panel,) = isoflops([sweep], str).panels
    minima = sorted((each.params, each.loss) for each in sweep.isoflops.minima)
    best = next((each.params, each.value) for each in sweep.optima if each.approach == "isoFLOP")
    (joined,) = [mark for mark in panel.marks if isinstance(mark, Line) and len(mark.x) == len(minima) + 1]
    assert np.column_stack([joined.x, joined.y]) == pytest.approx(np.array([*minima, best]))
    stars = [mark for mark in panel.marks if isinstance(mark, Dots) and mark.marker == "*"]
    assert sorted(float(mark.x[0]) for mark in stars) == pytest.approx(sorted(
        each.params for each in sweep.optima if each.params))
    assert panel.y.label == curves.label(of("val_loss"), str)


def told(value, name=""):
    """A specification with the ends and means of what it draws in place of many values, and four digits."""
    if isinstance(value, dict):
        return {key: told(each, key) for key, each in value.items() if not key.startswith("$")}
    if name == "values" and len(value) > 4 and isinstance(value[0], dict):
        means = {key: float(np.mean([each[key] for each in value])) for key, each in value[0].items()
                 if isinstance(each, int | float)}
        return {"count": len(value), "first": told(value[0]), "last": told(value[-1]), "means": told(means)}
    if isinstance(value, list):
        return [told(each) for each in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def differing(one, other, place=""):
    """Places where two specifications differ, numbers by more than 0.2 %."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for name in one:
            yield from differing(one[name], other[name], f"{place}.{name}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from differing(left, right, f"{place}[{index}]")
    elif one != (pytest.approx(other, rel=2e-3, abs=1e-6) if isinstance(other, float) else other):
        yield f"{place}: {one!r} was {other!r}"


def two_sizes():
    n, d = (each.ravel() for each in np.meshgrid(np.geomspace(1e7, 1e9, 4), np.geomspace(1e9, 1e11, 4)))
    noise = np.exp(0.003 * np.random.default_rng(0).standard_normal(16))
    return pl.DataFrame({"params": n, "train_tokens": d,
                         "val_loss": (1.8 + 480 / n**0.35 + 900 / d**0.35) * noise}).write_csv()


def sweep_of(budgets):
    """Runs at equal compute about the best sizes of a law, without noise."""
    flops = np.repeat(np.geomspace(1e18, 1e20, budgets), 5)
    n = 0.08 * flops**0.5 * np.tile(np.geomspace(0.3, 3, 5), budgets)
    d = flops / (6 * n)
    return pl.DataFrame({"params": n, "train_tokens": d, "val_loss": 1.8 + 480 / n**0.35 + 900 / d**0.35})


@pytest.mark.parametrize(("name", "data", "used", "given"), [
    ("source", None, {"scaling", "alpha", "matched", "alpha_over_val_er", "windows"}, Asked(figures="f")),
    ("law", two_sizes, {"joint"}, Asked(y="val_loss")),
    ("isoflops", lambda: sweep_of(3).write_csv(), {"isoflops"}, Asked(options={"flops": "1e21"})),
    ("plan", two_sizes, {"plan"}, Asked(y="val_loss", options={"target": "params=1e10,train_tokens=1e12",
                                                               "budget": 1e21})),
    ("next", lambda: "train_tokens,val_ppl\n" + "".join(f"{10_000 * 2**i},{9 + 400 * 0.8**i}\n" for i in range(7)),
     {"scaling", "plan"}, Asked(figures="f", options={"target": "train_tokens=5e6", "budget": 1e13,
                                                      "convention": "train_tokens"})),
])
def test_figures_show_what_is_kept(name, data, used, given, tmp_path):
    """To renew after a change that is meant: delete tests/golden/figure-*.json, run twice, and look at the figures."""
    file = ROOT / "examples" / "phase1-to-ppl" / "runs.csv"
    if data is not None:
        file = tmp_path / "sweep.csv"
        file.write_text(data())
    facts = Facts(read([file], REGISTRY), REGISTRY, given)
    made = {key: told(spec(plot)) for key, plot in plots(facts, gettext.NullTranslations(), used).items()}
    kept = ROOT / "tests" / "golden" / f"figure-{name}.json"
    if not kept.exists():
        kept.write_text(json.dumps(made, ensure_ascii=False) + "\n", encoding="utf-8")
        pytest.fail(f"{kept} was not there; it is written, look at it")
    assert list(differing(json.loads(json.dumps(made)), json.loads(kept.read_text(encoding="utf-8")))) == []
