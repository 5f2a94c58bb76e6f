"""Figures: where things go in them, what they show of which data, the formats they are written in, and hovering."""

import itertools
import json
import re
import shutil
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

import cvfp_core as cvfp
from cvfp_core.errors import UsageError
from cvfp_core.fitting import Prediction, predict_all
from cvfp_core.ingesting.reading import read
from cvfp_core.registry import installed
from cvfp_core.reporting.figures import curves, formats, paint, phases, places
from cvfp_core.reporting.figures.marks import Axis, Band, Dots, Line
from cvfp_core.reporting.figures.paint import written
from cvfp_core.reporting.figures.surfaces import surface
from cvfp_core.reporting.figures.svg import compact
from cvfp_core.reporting.figures.vega import spec
from cvfp_core.reporting.write import Asked, find, write
from cvfp_core.schema.quantities import of

REGISTRY = installed()
TOKENS = np.geomspace(1e5, 1e7, 5)


def sweep(series=2, noise=0.002):
    """Loss 2 + 40 * tokens^-0.3 of so many series, each of its own params."""
    rng = np.random.default_rng(5)
    return pl.DataFrame([
        {"experiment": f"s{i:02}", "params": 1e6 * 2.0**i, "train_tokens": float(tokens),
         "val_loss": 2 + 40 * tokens**-0.3 * 0.95**i + noise * rng.standard_normal()}
        for i in range(series) for tokens in TOKENS])


def curve(name, **more):
    return curves.Curve(name=name, x=TOKENS, y=5 * TOKENS**-0.1, **more)


def plotted(given):
    return curves.scaling(given, of("train_tokens"), of("val_loss"), str)


@pytest.mark.parametrize(("low", "high", "log"), [
    (70, 700, True), (286, 302, True), (6e4, 1e7, True), (1e18, 1e22, True), (0.98, 1.01, True), (2.9, 4.1, True),
    (40, 82, False), (-0.76, -0.33, False), (0, 1, False), (1e6, 1.3e6, True), (3e-5, 2e-3, True)])
def test_every_axis_has_several_ticks_that_its_labels_tell_apart(low, high, log):
    ticks = places.ticks(low, high, Axis(label="", log=log))
    assert 3 <= len(ticks) <= 9
    assert all(low <= each <= high for each in ticks)
    texts = places.written(ticks)
    assert len(set(texts)) == len(texts)
    scale = {"T": 1e12, "B": 1e9, "M": 1e6, "K": 1e3}
    values = [float(text.rstrip("TBMK")) * scale.get(text[-1], 1) for text in texts]
    assert values == pytest.approx(ticks, rel=1e-9)


def test_labels_are_moved_apart_by_the_least_squares():
    from scipy.optimize import minimize

    wanted, gap = np.array([0.5, 0.5, 0.51, 0.9, 0.1]), 0.08
    moved = places.spread(wanted, gap, 0.0, 1.0)
    order = np.argsort(wanted, kind="stable")
    assert all(b - a >= gap - 1e-12 for a, b in itertools.pairwise(np.array(moved)[order]))
    best = minimize(lambda at: ((at - wanted) ** 2).sum(), wanted + np.arange(5) / 100, method="SLSQP", constraints=[
        {"type": "ineq", "fun": lambda at, a=a, b=b: at[b] - at[a] - gap} for a, b in itertools.pairwise(order)])
    assert ((np.array(moved) - wanted) ** 2).sum() == pytest.approx(best.fun, abs=1e-6)
    crowded = places.spread([0.5] * 30, 0.08, 0.0, 1.0)
    assert min(crowded) >= 0
    assert max(crowded) <= 1 + 1e-12


def test_text_beside_points_covers_no_point_and_no_other_text():
    dots = [(20.0, 50.0), (24.0, 52.0), (60.0, 50.0), (95.0, 10.0)]
    sizes = [(18.0, 8.0)] * 4
    corners = places.beside(dots, sizes, (100.0, 100.0))
    boxes = [(x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, sizes, strict=True)]
    for one, other in itertools.combinations(boxes, 2):
        apart = max(one[0], other[0]) >= min(one[2], other[2]) or max(one[1], other[1]) >= min(one[3], other[3])
        assert apart
    assert all(a[0] >= 0 and a[2] <= 100 and a[1] >= 0 and a[3] <= 100 for a in boxes)


def test_the_band_is_that_of_a_new_run_all_the_way_to_the_forecast():
    runs = sweep(1)
    inputs = read([runs], REGISTRY)
    at = {"train_tokens": [1e8]}
    (forecast,) = predict_all(inputs.records, at, y="val_loss", registry=REGISTRY).predictions
    (band,) = cvfp.predict(runs, 1e8, y="val_loss").plot().axes[0].collections
    corners = band.get_paths()[0].vertices
    at_end = corners[np.isclose(corners[:, 0], 1e8)][:, 1]
    assert (at_end.min(), at_end.max()) == pytest.approx((forecast.run_low, forecast.run_high), rel=1e-6)
    between = corners[np.argmin(np.abs(np.log(corners[:, 0] / 3e7))), 0]
    there = predict_all(inputs.records, {"train_tokens": [between]}, y="val_loss", registry=REGISTRY).predictions[0]
    ends = corners[corners[:, 0] == between][:, 1]
    assert (ends.min(), ends.max()) == pytest.approx((there.run_low, there.run_high), rel=2e-3)


def test_many_series_share_a_panel_are_coloured_by_a_size_and_all_are_labelled():
    many = plotted([curve(f"s{i}", group=f"s{i}", sizes={"params": 1e6 * 2.0**i}) for i in range(24)])
    (panel,) = many.panels
    assert [end.text for end in panel.ends] == [f"s{i}" for i in range(24)]
    assert many.key is not None
    assert many.key.label == "params"
    hues = [mark.colour for mark in panel.marks if isinstance(mark, Dots)]
    assert len(set(hues)) == 24
    assert {hue: text for text, hue in many.key.levels}[hues[0]] == "1M"
    grouped = plotted([curve(f"{arm}{i}", group=arm) for arm in ("a", "b") for i in range(3)])
    assert [panel.title for panel in grouped.panels] == ["a", "b"]


def test_alpha_over_effective_rank_says_r_as_scipy_has_it():
    from scipy.stats import pearsonr

    rank, alpha = [0.7, 0.75, 0.8, 0.78], [-0.5, -0.52, -0.47, -0.49]
    series = [{"label": f"e:{i}", "name": f"v{i}", "experiment": "e" if i else "f", "best": {"val_er": er},
               "fit": {"parameters": {"alpha": {"value": a, "low": None, "high": None}}}}
              for i, (er, a) in enumerate(zip(rank, alpha, strict=True))]
    plot = phases.alpha_over_val_er(series, str)
    known = pearsonr(rank, alpha)
    assert plot.note.startswith(f"r = {known.statistic:.2f} [")
    assert plot.note.endswith(f"p = {known.pvalue:.2f}, n = 4")
    assert sorted(text for mark in plot.panels[0].marks for text in mark.texts) == ["v0", "v1", "v2", "v3"]
    assert phases.alpha_over_val_er(series[:1], str) is None


def test_windows_show_each_series_with_its_intervals_and_what_was_published():
    windows = [{"number": n, "alpha": {"value": -0.5 + n / 100, "low": -0.6, "high": -0.4},
                "published_alpha": -0.49 if n == 1 else None} for n in (1, 2)]
    plot = phases.windows([{"experiment": "e", "name": "v", "title": "e: v", "windows": windows},
                           {"experiment": "e", "name": "w", "title": "e: w", "windows": []}], str)
    (panel,) = plot.panels
    rings = [mark for mark in panel.marks if isinstance(mark, Dots) and mark.fill == "none"]
    assert [ring.y.tolist() for ring in rings] == [[-0.49]]
    bars = [mark for mark in panel.marks if isinstance(mark, Line) and mark.width == 0.8]
    assert [sorted(bar.y.tolist()) for bar in bars] == [[-0.6, -0.4]] * 2
    assert phases.windows([{"experiment": "e", "name": "w", "title": "", "windows": []}], str) is None


def test_windows_have_one_panel_an_experiment_and_leave_out_series_of_one_window():
    windows = [{"number": n, "alpha": {"value": -0.5, "low": None, "high": None}, "published_alpha": None}
               for n in (1, 2)]
    series = [{"experiment": e, "name": v, "title": f"{e}: {v}", "windows": windows[:count]}
              for e, v, count in (("a", "v", 2), ("a", "w", 2), ("b", "v", 2), ("b", "w", 1))]
    plot = phases.windows(series, str)
    assert [(panel.title, [end.text for end in panel.ends]) for panel in plot.panels] == [
        ("a", ["v", "w"]), ("b", ["v"])]


def test_a_figure_that_the_report_does_not_show_is_not_made(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    drawn = []
    monkeypatch.setattr("cvfp_core.reporting.figures.paint.written",
                        lambda plot, *_: drawn.append(plot) or "<svg/>")
    asked = []
    monkeypatch.setattr(phases, "matched", lambda *_: asked.append("matched"))
    own = tmp_path / "own.md.j2"
    own.write_text('{% if false %}![a]({{ figures["alpha"].path }}){% endif %}![s]({{ figures.scaling.path }})\n')
    made = write(read([sweep()], REGISTRY), find(str(own), REGISTRY), REGISTRY, Asked(figures="f"))
    assert made.text == "![s](f/scaling.svg)\n"
    assert set(made.figures) == {"f/scaling.svg"}
    assert len(drawn) == 1
    assert asked == []


@pytest.mark.parametrize(("kind", "head"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_every_format_is_written_and_the_same_twice(kind, head):
    pytest.importorskip("matplotlib")
    plot = plotted([curve("a"), curve("b")])
    first, second = (written(plot, kind) for _ in range(2))
    data = first.encode() if isinstance(first, str) else first
    assert first == second
    assert data.startswith(head)
    assert b"Date" not in data


def test_an_svg_has_the_marks_and_texts_of_matplotlib_in_few_lines(monkeypatch):
    pytest.importorskip("matplotlib")
    whole = []
    monkeypatch.setattr(paint, "compact", lambda svg: whole.append(svg) or compact(svg))
    small = written(plotted([curve("a <b> & 'c'"), curve("d\x1be")]), "svg")
    drawn, kept = (list(ElementTree.fromstring(svg).iter()) for svg in (*whole, small))
    for tag in ("path", "use", "text"):
        pairs = list(zip(*([each for each in every if each.tag.endswith(f"}}{tag}")] for every in (drawn, kept)),
                         strict=True))
        assert len(pairs) > 4
        for theirs, ours in pairs:
            assert ours.text is None or ours.text.strip() == (theirs.text or "").strip()
            for name in {"d", "x", "y"} & theirs.attrib.keys():
                numbers = [[float(each) for each in re.findall(r"-?[\d.]+", one.get(name))] for one in (theirs, ours)]
                np.testing.assert_allclose(*numbers, atol=0.0501)
    assert {"a <b> & 'c'", r"d\u001be"} <= {each.text for each in kept}
    assert small.count("\n") < whole[0].count("\n") / 3


def test_formats_that_cannot_be_written_are_refused_in_one_line(monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(UsageError, match=r"--figures pgf is measured by TeX, and none is installed .*; install one"):
        formats.check(["svg", "pgf"])
    with pytest.raises(UsageError, match="--figures gif: no such format; there are svg, png, pdf, pgf"):
        formats.check(["gif"])
    monkeypatch.setattr(formats, "wide_fonts", list)
    with pytest.raises(UsageError, match="--figures png in ja needs a Japanese font"):
        formats.check(["png"], "ja")
    formats.check(["svg"], "ja")
    with pytest.raises(UsageError, match=r"a figure is \.svg, \.png, \.pdf, \.pgf"):
        cvfp.fit(sweep(), y="val_loss").plot(tmp_path / "a.gif")


@pytest.mark.skipif(formats.tex_installed() is None, reason="no TeX is installed")
def test_a_figure_as_pgf_is_tex():
    assert "\\begin{pgfpicture}" in written(plotted([curve("a")]), "pgf")


def test_a_specification_holds_the_marks_and_names_nothing_to_fetch():
    made = spec(plotted([curve("a <b>", way=[Prediction(series="a", law="l", inputs={"train_tokens": float(at)},
                                                        value=5 * at**-0.1, run_low=4 * at**-0.1,
                                                        run_high=6 * at**-0.1) for at in TOKENS])]))
    text = json.dumps(made, allow_nan=False)
    assert "url" not in text
    (panel,) = made["concat"]
    kinds = [layer["mark"]["type"] for layer in panel["layer"]]
    assert kinds == ["area", "line", "line", "point", "text"]
    points = next(layer for layer in panel["layer"] if layer["mark"]["type"] == "point")
    assert [row["x"] for row in points["data"]["values"]] == pytest.approx(TOKENS)
    assert {row["name"] for row in points["data"]["values"]} == {"a <b>"}
    assert [each["title"] for each in points["encoding"]["tooltip"]] == [" ", "training tokens",
                                                                        "Val loss (nat a token)"]


def test_dots_of_very_many_runs_are_small():
    sizes = np.geomspace(1e4, 1e8, curves.CROWDED + 1)
    for x, size in ((sizes[1:], 4.5), (sizes, 1.5)):
        (panel,) = plotted([curves.Curve(name="a", group="g", x=x, y=9 * x**-0.1)]).panels
        assert [mark.size for mark in panel.marks] == [size]


def test_bands_are_drawn_of_few_series_only():
    way = [Prediction(series="a", law="l", inputs={"train_tokens": float(at)}, value=5 * at**-0.1,
                      run_low=4 * at**-0.1, run_high=6 * at**-0.1) for at in TOKENS]
    for count, bands in ((curves.FEW, curves.FEW), (curves.FEW + 1, 0)):
        plot = plotted([curve(f"s{i}", way=way) for i in range(count)])
        assert sum(isinstance(mark, Band) for mark in plot.panels[0].marks) == bands


def test_where_an_average_is_asked_does_not_change_what_is_told_elsewhere():
    """A place at which the law has left its range has no value, whatever other places are asked for."""
    runs = pl.DataFrame({"variant": ["a"] * 4, "train_tokens": [1e4, 2e4, 4e4, 8e4],
                         "val_ppl": [1.1 * (each / 8) ** -1.5 for each in (1, 2, 4, 8)]})
    records = read([runs], REGISTRY).records
    alone, among = (predict_all(records, {"train_tokens": at}, registry=REGISTRY).predictions[0]
                    for at in ([8e5], [8e5, 3e4]))
    assert alone.value is None
    assert (among.value, among.reason) == (None, alone.reason)


def test_a_law_of_two_sizes_has_a_colour_for_each_of_few_values_and_the_forecast():
    sizes, tokens = (each.ravel() for each in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 9)))
    table = pl.DataFrame({"params": sizes, "train_tokens": tokens,
                          "val_loss": 1.8 + 480 * sizes**-0.35 + 900 * tokens**-0.35})
    made = cvfp.predict(table, {"params": 1e10, "train_tokens": 1e12}, "chinchilla", y="val_loss")
    (each,) = made
    (fit,) = made.asked.fit(["chinchilla"])
    along_params, along_tokens, whole = surface(fit, str, made).panels
    named = [[mark.name for mark in panel.marks if isinstance(mark, Dots)] for panel in (along_params, along_tokens)]
    assert named[0] == [""] * 9 + ["1T"]  # nine values on a scale, and the forecast
    assert [mark.name for mark in along_params.marks if isinstance(mark, Line) and mark.name] == [
        "1B", "3.16B", "10B", "31.6B", "100B"]
    assert named[1] == ["10M", "31.6M", "100M", "316M", "1B", "10B"]
    for panel, place in ((along_params, 1e10), (along_tokens, 1e12)):
        *_, line, bar, mark = panel.marks
        assert (mark.x[0], mark.y[0]) == (place, each.value)
        assert (bar.y[0], bar.y[1]) == (each.run_low, each.run_high)
        assert line.y[-1] == pytest.approx(each.value)
    assert (whole.x.label, whole.y.label) == ("predicted", "observed")
