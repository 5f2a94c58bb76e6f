"""Reports and figures against what stands in the data: numbers by hand, geometry, pixels."""

import contextlib
import gettext
import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

import cvfp_core as cvfp
from cvfp_core.deciding.courses import Course
from cvfp_core.deciding.forecast import FinalForecast
from cvfp_core.deciding.optimum import optima
from cvfp_core.deciding.outlook import Outlook
from cvfp_core.errors import UsageError
from cvfp_core.ingesting.reading import read
from cvfp_core.registry import installed
from cvfp_core.registry.kinds import Template
from cvfp_core.reporting import sweep
from cvfp_core.reporting.comparison import compare
from cvfp_core.reporting.figures import curves, places
from cvfp_core.reporting.figures.isoflops import isoflops
from cvfp_core.reporting.figures.marks import Dots, Line
from cvfp_core.reporting.figures.report import _courses, _shared, plots
from cvfp_core.reporting.figures.vega import spec
from cvfp_core.reporting.html import page
from cvfp_core.reporting.latex import document
from cvfp_core.reporting.measures import measure, size
from cvfp_core.reporting.numbers import points, resolved, significant
from cvfp_core.reporting.phase1 import bands, examples
from cvfp_core.reporting.render import environment, figures_used, render, trees
from cvfp_core.reporting.series import _windows, views
from cvfp_core.reporting.view import Facts, _way, axis, view
from cvfp_core.reporting.way import way_to
from cvfp_core.reporting.write import Asked, find, suited, write
from cvfp_core.schema.quantities import QUANTITIES, Quantity, of
from cvfp_core.schema.records import Record, frame

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


@pytest.mark.parametrize(("given", "said"), [
    ({}, "runs are planned for a target"),
    ({"target": "params=7e9", "budget": 1e20, "cells": "grid.toml"}, "cells takes ranges in a report")])
def test_a_plan_that_is_named_is_asked_for_in_words(table, given, said):
    with pytest.raises(UsageError, match=said):
        view(read([table], REGISTRY), REGISTRY, ["plan"], options=given)


def test_axes_are_those_of_the_law_and_a_law_that_is_not_installed_has_no_fits(table):
    inputs = read([table], REGISTRY)
    facts = Facts(inputs, REGISTRY, Asked())
    assert facts.fits("of nobody") == []
    assert [axis(quantity)["label"] for quantity in (*facts.axes, Quantity(name="width"))] == [
        "train tokens", "Val PPL", "width"]
    surface = Facts(read([sweep_of(1)], REGISTRY), REGISTRY, Asked(law="chinchilla", y="val_loss"))
    assert (surface.axes[0].name, surface.surface, surface.choice["scale"]) == ("params", True, "val_loss")
    saturating = Facts(inputs, REGISTRY, Asked(law="power-law", x="num_samples", at={"num_samples": [1000]}))
    assert [each.inputs for (each,) in saturating.ahead.values()] == [{"num_samples": 1000}] * 2
    assert not any(saturating.way.values())
    assert {fit.inputs for fit in saturating.fits("power-law")} == {("num_samples",)}


def test_what_is_said_of_series_is_of_each_of_them(table):
    names = ["fitted", "forecasts", "arms", "choice", "bend", "decisions", "optimum"]
    made = view(read([table], REGISTRY), REGISTRY, names)
    labels = ["one:1L_16d_1tok", "one:1L_32d_1tok"]
    assert [each["series"] for each in made["fitted"]] == [each["label"] for each in made["forecasts"]] == labels
    assert [each["inputs"] for each in made["forecasts"]] == [{"train_tokens": 1.6e6}] * 2
    assert made["arms"] == []  # as their context_dim differs
    assert made["bend"]["series"] == "all series"
    assert made["optimum"]["flops"] == []  # as no run has params
    assert [each["label"] for each in made["decisions"]["series"]] == labels
    assert {sum(counts.values()) for each in made["decisions"]["series"] for counts in each["lights"].values()} == {5}


def test_runs_of_a_series_are_in_order_of_size_with_ranges_of_numbers_and_what_was_published_of_their_windows():
    given = [run_of("e:v", tokens, 9.0 - n, num_samples=tokens and tokens / 10, val_er=0.5 + n / 10)
             for n, tokens in enumerate((4000, None, 1000, 2000))]
    (made,) = views(frame(given), {}, {}, of("train_tokens"), of("val_ppl"), ("experiment", "variant"))
    assert [run["train_tokens"] for run in made["runs"]] == [1000, 2000, 4000, None]
    assert {name: made["ranges"][name] for name in ("train_tokens", "val_ppl")} == {
        "train_tokens": {"low": 1000, "high": 4000}, "val_ppl": {"low": 6, "high": 9}}
    assert "phase1_censored" not in made["ranges"]
    runs = [*made["runs"][:3], made["runs"][2] | {"train_tokens": 8000, "num_samples": 800}]
    stated = [{"alpha": value, "first_samples": 100, "last_samples": last}
              for value, last in ((-0.1, 400), (-0.2, 800))]
    (window,) = _windows({"alpha 1": {}}, runs, stated, "train_tokens")
    assert window["published_alpha"] == -0.2


def test_sizes_that_runs_share_are_numbers_that_do_not_vary():
    facts = SimpleNamespace(registry=REGISTRY, axes=(of("train_tokens"), of("val_ppl")))
    runs = [{"train_tokens": 10, "num_layers": 2, "params": 5, "context_dim": size, "val_ppl": 9.0} for size in (1, 2)]
    assert list(_shared(facts, runs).items()) == [("params", 5), ("layers", 2)]
    assert _shared(facts, []) == {}


def test_curves_of_runs_that_have_ended_are_shown_where_none_goes_on():
    course = Course(run_id="a", series="s", experiment="e", response="val_loss", lower=True, steps=np.arange(1, 4),
                    values=np.array([3.0, 2.0, 1.0]), final=1.0)
    forecast = FinalForecast(run_id="a", series="s", response="val_loss", step=2, limit=None, current=2, value=1)
    ended = Outlook(forecasts=(forecast,), courses=(course,))
    for outlooks in ((None, ended), (ended, None)):
        assert len(_courses(SimpleNamespace(outlooks=outlooks), str).panels) == 1
    assert _courses(SimpleNamespace(outlooks=(None, None)), str) is None


@pytest.mark.parametrize(("used", "named"), [
    ("figures['surface-chinchilla'].path", {"surface-"}), ("figures.alpha.path", {"alpha"}),
    ("figures['alphabet'].path", None)])
def test_figures_are_made_that_a_template_names(used, named, tmp_path):
    file = tmp_path / "a.md.j2"
    file.write_text("{{ " + used + " }}")
    assert figures_used(trees(file).values(), ["alpha", "scaling"]) == named


def test_lines_of_blocks_leave_nothing_in_a_report_however_they_are_indented(tmp_path):
    file = tmp_path / "a.md.j2"
    file.write_text("{% if one_size %}\n    {% if one_size %}\na\n    {% endif %}\n{% endif %}\nb\n")
    assert render(file, {"one_size": True}, environment(file)) == "a\nb\n"


def test_no_template_suits_records_that_lack_what_it_needs():
    def never(_):
        raise AssertionError

    items = {"a": Template(name="a", title="", path=ROOT),
             "b": Template(name="b", title="", path=ROOT, needs=("val_ppl",), suits=never)}
    registry = SimpleNamespace(items=lambda _: items, blaming=lambda *_: contextlib.nullcontext())
    with pytest.raises(UsageError, match="name one: --template a, b"):
        suited(frame([Record(run_id="a", experiment="e", variant="v")]), registry)


def test_sizes_are_listed_from_that_of_the_law_to_the_metric_and_runs_left_out_are_counted(table):
    inputs = read([table, pl.DataFrame({"experiment": ["two"], "train_tokens": [1], "val_ppl": [9.0]})], REGISTRY)
    made = view(inputs, REGISTRY, ["sizes", "rows"], options={"experiments": "one"})
    assert [each["name"] for each in made["sizes"]] == ["train_tokens", "num_samples", "context_dim", "val_ppl"]
    assert [(each["reason"], each["count"]) for each in made["rows"]["dropped"]] == [
        ("of other experiments than asked for", 1)]


def test_an_optimum_counts_compute_as_it_is_asked_to(monkeypatch):
    monkeypatch.setattr("cvfp_core.deciding.optimum.optima", lambda *_, **given: (
        given["convention"], given["inference_tokens"], [each.name for each in given["constraints"]]))
    runs = read([sweep_of(1)], REGISTRY)
    for given, counted in (({}, ("6ND", 0, [])), ({"convention": "flops", "inference_tokens": 1e12,
                                                  "constraint": "params<=1e9"}, ("flops", 1e12, ["params"]))):
        assert Facts(runs, REGISTRY, Asked(options=given)).sweeps == counted


def test_the_way_of_a_law_goes_to_the_farthest_forecast():
    known = pl.Series([1e4, 2e4, None, 1.6e5])
    for at, last in ((["10x"], 1.6e6), ([3e6, "2x"], 3e6), ([], 1.6e5)):
        assert max(_way(known, at, of("train_tokens"))) == pytest.approx(last)
        assert min(_way(known, at, of("train_tokens"))) == pytest.approx(1e4)


    assert way_to(np.array([5.0, 5.0]), [], of("train_tokens")) == []


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


def test_numbers_are_written_in_the_digits_that_they_are_known_in():
    assert [points(value) for value in (0.1, -0.1234, -1e-9)] == ["+10.0", "-12.3", "+0.0"]
    assert [significant(value) for value in (1.2e-5, 1.2e-4, 123456.7, 1234567.8)] == [
        "1.20e-5", "0.000120", "123,000", "1.23e6"]
    assert resolved(1.0, 0.99, 1567.8) == ("1.00", "0.990", "1,600")
    assert [size(value) for value in (9999, 4.73e5, 9.9e11, 1e12)] == ["9,999", "473K", "990B", "1e12"]
    assert [measure(value, axis(of("val_ppl"))) for value in (10.0, 9.996)] == ["10.0", "9.996"]


def test_latex_has_the_packages_of_its_language_lines_as_they_break_and_columns_as_wide_as_their_texts():
    for lang in ("en", "ja"):
        assert ("usepackage{luatexja}" in document("a", lang=lang)) is (lang == "ja")
    assert "\na\nb\\\\\nc\n" in document("a\nb  \nc")
    # 95 letters less 2 a column: 4 and 86 of the 295 that are wanted more, on a line of 95 / 0.97
    assert "p{0.919\\linewidth}r" in document(f"| a | b |\n|---|---:|\n| {'word ' * 60}| 1 |\n")


def test_an_image_that_is_not_there_stays_the_link_it_is():
    assert '<img src="x.svg" alt="a"' in page("![a](x.svg)")


def test_three_sizes_are_enough_for_a_law_of_two(monkeypatch):
    monkeypatch.setattr(sweep, "predict_all", lambda *_, **__: SimpleNamespace(choice=None, predictions=["told"]))
    for rows, found in ((2, None), (3, ["told"])):
        runs = pl.DataFrame([{"params": 1e6 * n, "train_tokens": 1e8 * d, "val_loss": 1 / n + 1 / d}
                             for n in range(1, 1 + rows) for d in range(1, 1 + rows)])
        made = sweep.joint(read([runs], REGISTRY).records, "val_loss", REGISTRY, None)
        assert (made and made["predictions"]) == found


def run_of(series, tokens, ppl, **more):
    experiment, _, variant = series.partition(":")
    return Record(run_id=f"{series} {tokens}", experiment=experiment, variant=variant, num_layers=1, num_input_tokens=1,
                  context_dim=16, seed=1, train_tokens=tokens, val_ppl=ppl, **more)


def test_examples_are_of_the_line_and_of_the_regression_on_size_and_rank():
    records = frame([run_of(f"e:v{n}", tokens, 1e3 * tokens**-0.3 * (1.1 - rank) * (1 + 0.001 * (n % 3)), val_er=rank)
                     for n, rank in enumerate((0.3, 0.4, 0.5, 0.6, 0.7, 0.8)) for tokens in SIZES])
    every = [{"control": None, "best": {"val_er": 0.5, "val_ppl": 40.0}}] * 3
    line, regression = examples(records, [0.45], {"a": 90.0, "b": -1.0}, every, {})
    assert (line["formula"], line["value"]) == ("line", 45)
    assert (regression["formula"], regression["train_tokens"]) == ("regression", 160_000)
    assert regression["value"] == pytest.approx(1e3 * 160_000**-0.3 * 0.65, rel=0.2)


def test_bands_are_of_sizes_that_two_runs_share_over_their_median():
    records = frame([run_of("e:v", 1000, 10.0), run_of("e:w", 1000, 30.0), run_of("e:v", 2000, 99.0)])
    runs = [{"light": "l", "colour": colour, "run_id": f"e:{name}", "series": name[0]}
            for colour, name in (("green", "v 1000"), ("red", "w 1000"), ("green", "v 2000"))]
    assert [(each["colour"], each["runs"], each["series"], each["ratio"]) for each in bands(runs, records)] == [
        ("green", 2, 1, pytest.approx(0.5)), ("red", 1, 1, pytest.approx(1.5))]


def test_groups_are_compared_in_rank_where_both_have_one():
    ranks = {1000: (0.5, 0.6), 2000: (0.5, 0.8), 4000: (0.5, None), 8000: (None, 0.4)}
    records = frame([run_of(f"{name}:v", tokens, 9.0 + number, val_er=pair[number], num_samples=tokens / 10)
                     for tokens, pair in ranks.items() for number, name in enumerate("ab")])
    made = compare(records, "a", "b", REGISTRY)
    assert len(made["pairs"]) == 4
    assert made["er_difference"]["value"] == pytest.approx(0.2)  # the mean of 0.1 and 0.3
    assert made["ratio"]["value"] == pytest.approx(10 / 9)
    assert made["ratio"]["stderr"] is None  # its interval is of a logarithm


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
