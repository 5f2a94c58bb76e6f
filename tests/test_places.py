"""What figures show and where, against values by hand and curves of scipy; nothing is drawn but one layout."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from scipy.interpolate import CubicHermiteSpline, KroghInterpolator

from cvfp_core.deciding.budgets import Cost
from cvfp_core.deciding.courses import Course
from cvfp_core.deciding.forecast import FinalForecast
from cvfp_core.deciding.isoflops import Budget, Isoflops
from cvfp_core.deciding.multiplier import ARM
from cvfp_core.deciding.optimum import Optimum, Sweep
from cvfp_core.deciding.plan import Plan, Planned
from cvfp_core.deciding.targets import Target
from cvfp_core.fitting import Prediction
from cvfp_core.reporting.figures import colours, curves, phases, places
from cvfp_core.reporting.figures.courses import courses
from cvfp_core.reporting.figures.isoflops import isoflops
from cvfp_core.reporting.figures.marks import Axis, Band, Dots, End, Key, Line, Panel, Plot
from cvfp_core.reporting.figures.plans import plans
from cvfp_core.reporting.figures.report import _sections
from cvfp_core.reporting.figures.surfaces import surface
from cvfp_core.schema.fits import Estimate, Fit, Points
from cvfp_core.schema.quantities import of

LOG, LINEAR = Axis(label="", log=True), Axis(label="")
DARKEST, LIGHTEST = "#440154", "#8fc93a"
"""The ends of the scale of colours."""


def array(*values):
    return np.array(values, dtype=float)


def drawn(panel, kind, **traits):
    """The marks of a kind with these traits."""
    return [mark for mark in panel.marks if isinstance(mark, kind)
            and all(getattr(mark, name) == value for name, value in traits.items())]


def bars(panel):
    """x and the ends of each upright line of two places."""
    return [(float(mark.x[0]), *mark.y.tolist()) for mark in drawn(panel, Line)
            if len(mark.x) == 2 and mark.x[0] == mark.x[1]]


@pytest.mark.parametrize(("low", "high", "axis", "made"), [
    (1, 1e10, LOG, [1, 1e2, 1e4, 1e6, 1e8, 1e10]), (1, 1e3, LOG, [1, 10, 100, 1000]), (1, 100, LOG, [1, 10, 100]),
    (1, 40, LOG, [1, 3, 10, 30]), (1, 20, LOG, [1, 2, 5, 10, 20]), (2, 11, LOG, [2, 3, 5, 7, 10]),
    (0, 1, LINEAR, [0, 0.2, 0.4, 0.6, 0.8, 1]), (1, 4, Axis(label="", whole=True), [1, 2, 3, 4])])
def test_ticks_are_decades_or_round_steps_within_them(low, high, axis, made):
    assert places.ticks(low, high, axis) == pytest.approx(made)


@pytest.mark.parametrize(("ticks", "texts"), [
    ([0, 0.5, 1], ["0", "0.5", "1"]), ([5e3, 1e4], ["5K", "10K"]), ([1e6, 2.5e6], ["1M", "2.5M"]),
    ([1e9, 2e9], ["1B", "2B"]), ([1e12, 2e12], ["1T", "2T"]), ([1e-5, 2e-5], ["1e-5", "2e-5"]),
    ([0.25, 500], ["0.25", "500"])])
def test_ticks_are_written_in_few_digits_and_letters(ticks, texts):
    assert places.written(ticks) == texts


@pytest.mark.parametrize(("values", "axis", "ends"), [
    ([], LOG, (1, 10)), ([], LINEAR, (0, 1)), ([10, 1000], LOG, (10**0.9, 10**3.1)), ([0, 10], LINEAR, (-0.5, 10.5)),
    ([0], LINEAR, (-0.5, 0.5)), ([4], LINEAR, (3.8, 4.2)), ([], Axis(label="", names=("a", "b", "c")), (2.5, -0.5))])
def test_an_axis_leaves_a_twentieth_free_at_either_end(values, axis, ends):
    assert places.limits(array(*values), axis) == pytest.approx(ends)


def test_the_range_of_a_panel_is_of_finite_values_and_on_a_logarithmic_axis_of_those_above_0():
    x = array(-1, 0, 2, np.nan, np.inf)
    marks = (Dots(x=x, y=x, colour=""), Band(x=array(3), low=array(0), high=array(5), colour=""))
    assert places.values(Panel(marks=marks, x=LOG, y=LINEAR), "x").tolist() == [2, 3]
    assert places.values(Panel(marks=marks, x=LOG, y=LOG), "y").tolist() == [2, 5]
    assert places.values(Panel(marks=marks, x=LOG, y=LINEAR), "y").tolist() == [-1, 0, 2, 0, 5]
    assert places.share(100, (1, 1000), log=True) == pytest.approx(2 / 3)
    assert places.share(25, (100, 0), log=False) == 0.75


def test_a_label_stands_at_the_first_of_eight_places_that_is_free():
    dot, size, room = (50.0, 50.0), (20.0, 8.0), (100.0, 100.0)
    corners = [(55, 46), (25, 46), (40, 55), (40, 37), (54, 54), (54, 38), (26, 54), (26, 38)]
    there = [(72.0, 50.0), (28.0, 50.0), (50.0, 60.0), (50.0, 40.0), (72.0, 60.0), (72.0, 40.0), (28.0, 60.0)]
    for count, corner in enumerate(corners):  # the dots there each meet one of them
        assert places.beside([dot, *there[:count]], [size] * (count + 1), room)[0] == corner
    assert places.beside([dot, (53.5, 50.0)], [size] * 2, room)[0] == (25, 46)


def test_colours_and_markers_repeat_and_a_scale_goes_from_dark_to_light():
    assert [colours.marker(index) for index in (0, 1, 9)] == ["o", "s", "o"]
    assert colours.colour(10) == colours.COLOURS[1]
    assert [colours.along(share) for share in (0, 0.5, 1)] == [DARKEST, "#277f8e", LIGHTEST]
    assert colours.shares([1, 10, 100]) == colours.shares([-5, 0, 5]) == pytest.approx([0, 0.5, 1])
    assert colours.shares([3, 3]) == [0.5, 0.5]


def told(at, value=None, **more):
    """What a law says at a number of tokens."""
    return Prediction(series="", law="l", inputs={"train_tokens": at}, value=value, **more)


def hermite(x, v, at):
    """The cubics through the places, whose slopes are those of the parabola through each place and its neighbours."""
    x, v = np.asarray(x), np.asarray(v)
    near = [min(max(place - 1, 0), len(x) - 3) for place in range(len(x))]
    slopes = [float(KroghInterpolator(x[i:i + 3], v[i:i + 3]).derivative(x[place])) for place, i in enumerate(near)]
    return CubicHermiteSpline(x, v, slopes)(at)


@pytest.mark.parametrize(("response", "percent", "scale", "back"), [
    ("val_loss", 1, np.log, np.exp), ("val_acc", 100, np.array, np.array)])
def test_a_law_is_drawn_by_cubics_through_what_it_says(response, percent, scale, back):
    at, runs = array(1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9), array(1e3, 1e4, 1e5)
    values, low = array(0.9, 0.8, 0.6, 0.55, 0.3, 0.2, 0.15), array(np.nan, 0, 0.5, 0.45, 0.2, 0.15, 0.1)
    way = [told(x, v, run_low=None if np.isnan(end) else end, run_high=2 * v)
           for x, v, end in zip(at, values, low, strict=True)]
    plot = curves.scaling([curves.Curve(name="a", x=runs, y=array(0.9, 0.7, 0.6), way=way)], of("train_tokens"),
                          of(response), str)
    (panel,) = plot.panels
    fine = np.unique([*np.geomspace(1e3, 1e9, 60), *runs])
    (solid,), (dashed,), (band,) = (drawn(panel, Line, dashed=False), drawn(panel, Line, dashed=True),
                                    drawn(panel, Band))
    for line, x in ((solid, fine[fine <= 1e5]), (dashed, fine[fine >= 1e5])):
        assert line.x == pytest.approx(x)
        assert line.y == pytest.approx(percent * back(hermite(np.log(at), scale(values), np.log(x))))
    first = 2 if response == "val_loss" else 1  # nothing is 0 on a logarithmic axis
    inside = fine[fine >= at[first]]
    assert band.x == pytest.approx(inside)
    for line, ends in ((band.low, low), (band.high, 2 * values)):
        assert line == pytest.approx(percent * back(hermite(np.log(at[first:]), scale(ends[first:]), np.log(inside))))
    (dots,) = drawn(panel, Dots)
    assert dots.y == pytest.approx(percent * array(0.9, 0.7, 0.6))


def test_two_places_of_a_law_give_a_straight_band():
    way = [told(1e4, 4, run_low=2, run_high=8), told(1e6, 2, run_low=1, run_high=4)]
    curve = curves.Curve(name="a", x=array(1e4, 1e5), y=array(4, 3), way=way)
    (panel,) = curves.scaling([curve], of("train_tokens"), of("val_loss"), str).panels
    (band,) = drawn(panel, Band)
    middle = band.x == 1e5
    assert (band.low[middle], band.high[middle]) == (pytest.approx(2**0.5), pytest.approx(32**0.5))


def test_forecasts_of_series_stand_beside_each_other_with_the_intervals_they_have():
    def curve(name, *forecasts):
        return curves.Curve(name=name, x=array(1e4, 1e5), y=array(3, 2), group="g", forecasts=forecasts)

    (panel,) = curves.scaling([curve("a", told(1e6, 1.5, run_low=1, run_high=2), told(1e7)),
                               curve("b", told(1e6, 1.4, run_high=2))], of("train_tokens"), of("val_loss"), str).panels
    assert [(mark.x[0], mark.y[0]) for mark in drawn(panel, Dots, fill="white")] == [
        (pytest.approx(1e6 / 1.05), 1.5), (1e6, 1.4)]
    assert bars(panel) == [(pytest.approx(1e6 / 1.05), 1, 2)]
    assert [(end.x, end.y, end.text) for end in panel.ends] == [(pytest.approx(1e6 / 1.05), 1.5, "a"), (1e6, 1.4, "b")]
    assert panel.title == ""  # of a single group


@pytest.mark.parametrize(("sizes", "levels"), [
    ([{"params": 1e6 * (1 + number)} for number in range(9)], ["1M", "3M", "5M", "7M", "9M"]),
    ([{"params": 1e6}, *[{}] * 8], None), ([{"params": 1e6 * (1 + number % 2)} for number in range(9)], None),
    ([{"params": 1e6 * (1 + number)} for number in range(8)] + [{}], None)])
def test_many_series_are_coloured_by_a_size_that_all_have_in_three_values_or_by_where_they_end(sizes, levels):
    given = [curves.Curve(name=f"s{number}", x=array(1e4, 1e5), y=array(9, 1 + number), sizes=each)
             for number, each in enumerate(sizes)]
    plot = curves.scaling(given, of("train_tokens"), of("val_loss"), str)
    assert (plot.key and [text for text, _ in plot.key.levels]) == levels
    hues = [mark.colour for mark in drawn(plot.panels[0], Dots)]
    assert (hues[0], hues[-1]) == (DARKEST, LIGHTEST)
    if levels:
        assert [hue for _, hue in plot.key.levels] == hues[::2]


def swept(*budgets, optima):
    params, loss = array(1, 2, 3, 4, 1, 2, 3), array(4, 3, 3, 4, 6, 5, 6)
    return Sweep(series="s", runs=7, cost=Cost(convention="6ND"), law="l", isoflops=Isoflops(budgets=budgets),
                 frontier=(), optima=optima, params=params, flops=params, response=loss)


def test_isoflop_budgets_without_a_minimum_are_shown_from_four_runs_and_open_intervals_have_no_bar():
    budgets = (Budget(flops=1e18, n=4, rows=np.arange(4)), Budget(flops=2e18, n=3, rows=np.arange(4, 7)))
    best = Optimum(series="s", approach="surface", flops=1e19, params=5.0, params_low=4.0, value=2.0, run_high=3.0)
    (panel,) = isoflops([swept(*budgets, optima=(best,))], str).panels
    assert [(mark.name, mark.x.tolist(), mark.y.tolist()) for mark in drawn(panel, Dots)] == [
        ("1e18 FLOPs", [1, 2, 3, 4], [4, 3, 3, 4]), ("surface", [5], [2])]
    assert not drawn(panel, Line)
    assert [(end.text, end.x, end.y) for end in panel.ends] == [("1e18 FLOPs", 4, 4), ("surface", 5, 2)]


def planned(inputs, target, value=None, **more):
    points = Points(inputs={"params": array(1, 2, 3), "train_tokens": array(10, 20, 30), ARM: array(0, 1, 0)},
                    response=array(5, 4, 3), series=np.array(["s"] * 3), name="val_loss")
    return plans(Plan(series="s", target=target, response="val_loss", inputs=inputs, runs=3, budget=1e9, cost="",
                      laws={}, value=value, points=points, **more), str).panels[0]


def test_a_plan_shows_the_runs_of_each_arm_and_a_target_where_there_is_one():
    steps = tuple(Planned(number=number, inputs={"params": 4.0, "train_tokens": 40.0}, arm=arm, flops=1, total=1)
                  for number, arm in ((1, "b"), (2, "a")))
    place = Target(kind="place", inputs={"params": 8.0, "train_tokens": 80.0})
    panel = planned(("params", "train_tokens"), place, arms=("a", "b"), steps=steps)
    assert [(mark.name, mark.x.tolist(), mark.y.tolist(), mark.texts) for mark in drawn(panel, Dots)] == [
        ("a: runs made", [1, 3], [10, 30], ()), ("a: runs planned", [4], [40], ("2",)),
        ("b: runs made", [2], [20], ()), ("b: runs planned", [4], [40], ("1",)), ("target", [8], [80], ())]
    for inputs, target in ((("params", "train_tokens"), Target(kind="optimum", flops=1e9)),
                           (("params",), Target(kind="place", inputs={"params": 8.0}))):  # of which no law says a value
        assert [mark.name for mark in drawn(planned(inputs, target, steps=()), Dots)] == ["runs made"]
    panel = planned(("params",), Target(kind="place", inputs={"params": 8.0}), 2.5, low=2, high=3, steps=())
    assert (bars(panel), drawn(panel, Dots)[-1].y.tolist()) == ([(8, 2, 3)], [2.5])


def fitted(law, **inputs):
    """A fit of the law whose parameter a is a half, to what it says at these inputs."""
    points = Points(inputs=inputs, response=law.function(*inputs.values(), 0.5), series=np.array(["s"] * 18),
                    name="val_acc")
    return Fit(law="l", series="s", status="converged", estimates=(Estimate(name="a", value=0.5),), inputs=law.inputs,
               response="val_acc", solver=SimpleNamespace(law=law), points=points)


def test_a_law_of_two_sizes_is_drawn_along_tokens_for_each_number_of_params():
    def response(params, train_tokens, a):
        return a / (1 + params) + 10 / train_tokens

    def drawn_of(*fits):
        facts = SimpleNamespace(law_fits=dict(enumerate(fits)), registry=SimpleNamespace(quantity=of))
        return _sections(facts, str)

    params, tokens = (each.ravel() for each in np.meshgrid(array(1, 2, 4), np.geomspace(1e3, 1e6, 6)))
    parameters = (SimpleNamespace(name="a"),)
    law = SimpleNamespace(function=response, inputs=("params", "train_tokens"), parameters=parameters)
    fit = fitted(law, params=params, train_tokens=tokens)
    (panel,) = drawn_of(fit).panels
    assert [(mark.name, mark.y[0]) for mark in drawn(panel, Dots)] == [
        (f"{size:g}", pytest.approx(100 * response(size, 1e3, 0.5))) for size in (1, 2, 4)]
    assert [line.y[0] for line in drawn(panel, Line, dashed=False)] == pytest.approx(
        [100 * response(size, 1e3, 0.5) for size in (1, 2, 4)])
    other = SimpleNamespace(function=response, inputs=("params", "width"), parameters=parameters)
    assert drawn_of() is drawn_of(fit, fit) is drawn_of(fitted(other, params=params, width=tokens)) is None


def test_slices_of_a_law_are_in_percent_coloured_by_the_other_input_and_go_to_0_where_an_input_does():
    law = SimpleNamespace(function=lambda params, extra, a: a / (1 + params) + extra / 10,
                          inputs=("params", "extra"), parameters=(SimpleNamespace(name="a"),))
    params, extra = (each.ravel() for each in np.meshgrid(np.geomspace(0.25, 4, 9), array(1, 2)))
    fit = fitted(law, params=params, extra=extra)
    forecast = Prediction(series="s", law="l", inputs={"params": 0.5, "extra": 0.0}, value=1 / 3, run_low=0.3)
    by_params, by_extra, whole = surface(fit, str, [forecast]).panels
    few = drawn(by_params, Dots, fill="full")
    assert [(mark.name, mark.colour) for mark in few] == [("1", colours.colour(0)), ("2", colours.colour(1))]
    assert few[0].y == pytest.approx(100 * law.function(few[0].x, 1, 0.5))
    many = drawn(by_extra, Dots, fill="full")
    hues = [mark.colour for mark in many]
    assert (len(set(hues)), hues[0], hues[-1]) == (9, DARKEST, LIGHTEST)
    for panel, x in ((by_params, np.geomspace(0.25, 4, 60)), (by_extra, np.linspace(0, 2, 60))):
        (line,), (dot,) = drawn(panel, Line, dashed=True), drawn(panel, Dots, fill="white")
        assert line.x == pytest.approx(x)
        assert line.y == pytest.approx(100 * (law.function(x, 0, 0.5) if panel is by_params
                                              else law.function(0.5, x, 0.5)))
        assert dot.y == pytest.approx(100 / 3)
        assert bars(panel) == []
    assert drawn(whole, Dots)[0].x == pytest.approx(drawn(whole, Dots)[0].y)


def seen(number, *, experiment="e", alpha=(-0.5, -0.6, None), windows=(), runs=(), largest=None):
    value, low, high = alpha
    return {"label": f"{experiment}:v{number}", "name": f"v{number}", "title": f"{experiment}: v{number}",
            "experiment": experiment, "published_alpha": None, "windows": windows, "runs": runs, "largest": largest,
            "fit": {"parameters": {"alpha": {"value": value, "low": low, "high": high}}}}


def test_exponents_have_a_bar_where_both_ends_are_known():
    (panel,) = phases.alpha([seen(0), seen(1, alpha=(-0.4, -0.5, -0.3))], str).panels
    assert [mark.x.tolist() for mark in drawn(panel, Line)] == [[-0.5, -0.3]]
    assert [mark.y[0] for mark in drawn(panel, Dots)] == [0, 1]
    windows = [{"number": number, "alpha": {"value": value, "low": None if number == 1 else -1, "high": 0},
                "published_alpha": None} for number, value in ((1, -0.3), (2, -0.4), (3, -0.6))]
    (panel,) = phases.windows([seen(0, windows=windows)], str).panels
    assert [(end.x, end.y) for end in panel.ends] == [(3, -0.6)]
    assert bars(panel) == [(2, -1, 0), (3, -1, 0)]


def test_matched_sizes_are_those_of_three_series_and_show_rank_in_percent_against_perplexity():
    runs = [{"val_ppl": 10.0 + number, "val_er": 0.5, "train_tokens": number} for number in range(3)]
    plot = phases.matched([seen(number, runs=runs[number > 1:]) for number in range(3)], str)
    assert [panel.title for panel in plot.panels] == ["1 tokens", "2 tokens"]
    (dots,) = drawn(plot.panels[0], Dots)
    assert (dots.x.tolist(), dots.y.tolist()) == ([50] * 3, [11] * 3)


@pytest.mark.parametrize(("count", "hues"), [
    (2, list(colours.COLOURS[:2])), (9, [DARKEST, *[None] * 7, LIGHTEST])])
def test_convergence_ends_at_the_last_iteration_in_colours_of_their_own_while_series_are_few(count, hues):
    table = pl.DataFrame([{"run_id": f"r{number}", "phase": 1, "metric": "convergence_rate", "step": step,
                           "value": rate} for number in range(count) for step, rate in ((3, 0.9), (1, 0.2), (2, 0.5))])
    (panel,) = phases.convergence([seen(number, largest={"run_id": f"r{number}"}) for number in range(count)], table,
                                  str).panels
    assert {tuple(mark.y) for mark in panel.marks} == {(20, 50, 90)}
    assert {(end.x, end.y) for end in panel.ends} == {(3, 90)}
    assert all(hue in (None, mark.colour) for hue, mark in zip(hues, panel.marks, strict=True))


def test_forecasts_of_runs_stand_apart_beyond_the_last_step_and_finished_runs_are_grey():
    def course(name, steps, final=None):
        steps = np.arange(1, steps)
        return Course(run_id=name, series="s", experiment="e", response="val_loss", lower=True, steps=steps,
                      values=10 / steps, final=final)

    forecasts = [FinalForecast(run_id=name, series="s", response="val_loss", step=5, limit=None, current=2, value=1,
                               low=0.8, high=1.2) for name in "ab"]
    plot = courses([course("done", 101, 0.1), course("a", 6), course("b", 6)], forecasts, str)
    (panel,) = plot.panels
    grey, *_ = drawn(panel, Line, colour="#c4c4c4")
    assert len(drawn(panel, Line, colour="#c4c4c4")) == 1
    assert len(grey.x) == 100
    first, second = bars(panel)
    assert 100 < first[0] < second[0] < 120
    assert first[1:] == (0.8, 1.2)
    assert [(mark.x[0], mark.y[0]) for mark in drawn(panel, Dots, fill="white")] == [(first[0], 1), (second[0], 1)]


def test_panels_are_laid_out_in_rows_with_room_for_ticks_titles_and_labels():
    """Five panels in two rows: each as large as asked for, none over another, the texts where they belong."""
    figure = pytest.importorskip("cvfp_core.reporting.figures.paint").figure
    dots = Dots(x=array(1, 2, 4), y=array(3, 2, 1), colour="#000000", texts=("", "", "far right"))
    panels = [Panel(marks=(dots,), x=Axis(label="x"), y=Axis(label=name), title="t", ends=(
        End(x=4, y=1, text="an end", colour="#000000"),)) for name in ("y", "z", "y", "y", "y")]
    made = figure(Plot(panels=tuple(panels), width=2, height=1, note="a note",
                       key=Key(label="a key", levels=(("1", "#000000"),))))
    across, down = made.get_size_inches()
    boxes = [axes.get_position() for axes in made.axes]
    for box in boxes:
        assert (box.width * across, box.height * down) == pytest.approx((2, 1))
        assert 0 < box.x0 < box.x1 < 1
        assert box.y0 * down >= 0.5 + 0.28
        assert box.y1 * down <= down - 0.3 + 1e-9  # the title is above
    assert boxes[0].y0 == boxes[2].y0 > boxes[3].y1 + 0.3 / down
    assert boxes[0].x0 == boxes[3].x0 < boxes[1].x0 - boxes[0].width
    assert [axes.get_ylabel() for axes in made.axes] == ["y", "z", "", "y", ""]
    assert [axes.get_xlabel() for axes in made.axes] == ["", "", "x", "x", "x"]
    note, key = ((text.get_position()[0] * across, text.get_position()[1] * down) for text in made.texts)
    assert note == pytest.approx((across - 0.1, down - 0.08))
    assert key == pytest.approx((across - 0.1, 0.14))
    dot = (144 * 3.15 / 3.3, 72 * 0.1 / 2.2)  # in points: 4 of 0.85 to 4.15, and 1 of 0.9 to 3.1
    assert made.axes[0].texts[2].get_position() == pytest.approx(
        (dot[0] - 4 - places.wide("far right", 7.5), dot[1] + 4))  # as there is no room right of it or below
