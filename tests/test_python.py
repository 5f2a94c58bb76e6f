"""`import cvfp_core as cvfp`: the verbs, and the values they give."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import cvfp_core as cvfp
import made_grids
from cvfp_core.errors import UsageError
from cvfp_core.registry.kinds import Law, Parameter
from laws_data import made, power
from test_light import MODULES, PACKAGES

VERBS = ("read", "fit", "predict", "write_report", "run", "plot", "optimum", "compare", "plan", "forecast")
TOKENS = 6e4 * 2.0 ** np.arange(6)


@pytest.fixture
def table(tmp_path):
    """A table of two series of six runs, as a file."""
    file = tmp_path / "sweep.csv"
    pl.concat([
        made(TOKENS, power(TOKENS, floor=60, noise=0.01, seed=1), experiment="one", variant="1L_64d_1tok"),
        made(TOKENS, power(TOKENS, noise=0.01, seed=2), experiment="two", variant="2L_64d_1tok"),
    ]).select("experiment", "variant", "train_tokens", "val_ppl", "seed").write_csv(file)
    return file


def test_the_verbs_are_functions_with_a_docstring_whatever_was_imported_before():
    code = f"""
import importlib, inspect, warnings
warnings.simplefilter("ignore", DeprecationWarning)
for name in {MODULES!r}:
    importlib.import_module(name)
import cvfp_core as cvfp
for name in {VERBS!r}:
    assert inspect.isfunction(getattr(cvfp, name)), (name, getattr(cvfp, name))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    for name in VERBS:
        assert name in dir(cvfp)
        assert (inspect.getdoc(getattr(cvfp, name)) or "").endswith((")", "."))


def test_the_page_of_python_lists_every_verb():
    page = (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
    assert {name for name in VERBS if f"\n| `{name}(" in page} == set(VERBS)


def test_no_verb_has_the_name_of_a_module():
    assert not {f"cvfp_core.{name}" for name in (*VERBS, "plan")} & set(MODULES)


def test_the_import_is_light_and_an_unknown_name_is_refused_with_those_there_are():
    code = "import sys; before = set(sys.modules); import cvfp_core; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=900)
    assert {name for name in done.stdout.split() if name.startswith("cvfp_")} == {"cvfp_core", "cvfp_core.version"}
    assert not {"polars", "rich", "typer", "numpy", "pydantic"} & set(done.stdout.split())
    with pytest.raises(AttributeError, match="no attribute 'raed'; its verbs are: read, fit"):
        _ = cvfp.raed


def pandas(path):
    return pytest.importorskip("pandas").read_csv(path)


@pytest.mark.parametrize("given", [str, Path, lambda path: [path], pl.read_csv, pl.scan_csv, pandas, cvfp.read,
                                   lambda path: [pl.read_csv(path), str(path)], lambda path: path.parent.glob("*.csv")],
                         ids=["str", "Path", "list", "polars", "lazy", "pandas", "Runs", "both", "glob"])
def test_runs_are_taken_from_paths_frames_and_runs_alike(given, table):
    runs = cvfp.read(given(table))
    assert len(runs) == 12
    assert runs.to_frame()["val_ppl"].sort().to_list() == cvfp.read(table).to_frame()["val_ppl"].sort().to_list()
    assert [fit.n for fit in cvfp.fit(given(table))] == [6, 6]


def test_columns_are_mapped_and_runs_kept_by_expressions(table):
    frame = pl.read_csv(table).select(pl.col("train_tokens").alias("D"), pl.col("val_ppl").log().alias("final"))
    runs = cvfp.read(frame.head(6), map={"train_tokens": "D", "val_loss": "final"}, where="train_tokens > 1e5")
    assert len(runs) == 5
    np.testing.assert_allclose(np.exp(runs.to_frame()["val_loss"]), pl.read_csv(table)["val_ppl"][1:6])
    (fit,) = cvfp.fit(runs, y="val_loss")
    assert (fit.response, fit.n) == ("val_loss", 5)


def test_fits_are_a_sequence_that_prints_as_the_command_does(table):
    fits = cvfp.fit(table, ["power-law", "saturating"])
    assert [(fit.law, fit.series) for fit in fits] == [
        (law, series) for law in ("power-law", "saturating") for series in ("one:1L_64d_1tok", "two:2L_64d_1tok")]
    assert str(fits).splitlines()[0] == "power-law  PPL = A * tokens^alpha"
    assert repr(fits) == str(fits)
    frame = fits.to_frame()
    alpha = frame.filter(law="power-law", series="two:2L_64d_1tok", parameter="alpha").row(0, named=True)
    assert alpha["low"] < -0.5 < alpha["high"]
    lines = fits.summary().splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("power-law, one:1L_64d_1tok, n 6: ")
    (forecast,) = [each for each in fits.predict({"train_tokens": 4e6}, law="power-law") if each.series[:3] == "two"]
    assert forecast.run_low < power([4e6])[0] < forecast.run_high


def test_forecasts_are_of_the_law_asked_for_or_the_one_chosen(table):
    made = cvfp.predict(table, {"train_tokens": ["10x", 4e6]})
    assert [each.inputs["train_tokens"] for each in made] == pytest.approx([10 * TOKENS[-1], 4e6] * 2)
    assert made.choice.law == "saturating"
    assert {each.law for each in made} == {"average"}
    assert "forecast: an average of the laws by weight" in str(made)
    assert "chosen" not in str(made)
    weights = [int(share) for share in re.findall(r"(\d+)% *(?:ruled out)?\n", str(made).partition("weight")[2])]
    assert len(weights) > 2
    assert weights == sorted(weights, reverse=True)
    assert made.plot().axes[0].get_title(loc="left") == "average of power-law and saturating"
    assert made.to_frame().height == 4
    given = cvfp.predict(table, 4e6, "power-law")
    assert given.choice is None
    assert {each.law for each in given} == {"power-law"}
    assert given.summary().splitlines()[1].startswith("two:2L_64d_1tok, train_tokens = 4,000,000: val_ppl ")


def test_a_forecast_chooses_among_the_laws_it_is_given_and_plots_one_that_no_plugin_has(table):
    own = Law(name="own", form="PPL = A * tokens^-b", function=lambda train_tokens, A, b: A * train_tokens**-b,
              parameters=(Parameter(name="A", minimum=0), Parameter(name="b", minimum=0, maximum=2)), linear=("A",))
    among = cvfp.predict(table, 4e6, ["power-law", "saturating", own])
    assert among.choice.law == "saturating"
    assert {each.law for each in among.choice.candidates} == {"power-law", "saturating", "own"}
    one, two = (cvfp.predict(table, 4e6, each) for each in (own, "power-law"))
    assert [each.value for each in one] == pytest.approx([each.value for each in two], rel=1e-6)
    (axes,) = one.plot().axes
    assert axes.get_title(loc="left") == "own"
    for verb in (cvfp.fit, lambda runs, law: cvfp.predict(runs, 4e6, law)):
        with pytest.raises(UsageError, match="no law in the list"):
            verb(table, [])
        with pytest.raises(UsageError, match="'powr-law'; did you mean 'power-law'"):
            verb(table, ["power-law", "powr-law"])


def test_a_result_is_one_table_in_terminal_markdown_and_html(table):
    for result in (cvfp.read(table), cvfp.fit(table), cvfp.predict(table, 4e6)):
        words = str(result).split()
        page, text = result._repr_html_(), result._repr_markdown_()
        assert page.count("<table>") == sum(line.startswith("|--") for line in text.splitlines()) > 0
        for word in words:
            if word.replace(".", "").replace(",", "").isdigit():
                assert word in text
                assert word in page


def test_text_of_a_table_stays_inert_in_a_notebook(table):
    frame = pl.read_csv(table).with_columns(experiment=pl.lit("<script>a|b*c*"))
    made = cvfp.fit(frame)
    assert "<script>" in str(made)
    assert "<script>" not in made._repr_html_()
    assert "<em>" not in made._repr_html_()
    assert '<div class="tex2jax_ignore mathjax_ignore"' in made._repr_html_()


def test_a_table_of_html_has_its_title_its_sides_and_what_is_dim_or_a_warning(table):
    runs = cvfp.read(table)
    page = runs._repr_html_()
    assert page.count("<caption") == 2
    assert '<th style="text-align:left;white-space:nowrap"><span style="font-weight:600">series</span></th>' in page \
        or '<th style="text-align:left;white-space:nowrap">series</th>' in page
    assert '<td style="text-align:right;white-space:nowrap">' in page
    assert '<div><span style="opacity:.7">alpha of PPL = ' in page
    far = cvfp.predict(table, 1e12, "power-law")._repr_html_()
    assert '<span style="color:#b07000">' in far


def test_runs_say_what_was_taken_for_what_and_many_of_them_are_shown_by_series():
    frame = pl.DataFrame({"N": [1e6 * 2**i for i in range(6)], "loss": [4.0 - 0.1 * i for i in range(6)]})
    assert str(cvfp.read(frame)).splitlines()[-1] == "frame 1: loss is read as val_loss, N is read as params"
    many = pl.concat([made(TOKENS, power(TOKENS, noise=0.01, seed=seed), experiment=f"e{seed}", variant="1L_64d_1tok")
                      for seed in range(9)])
    lines = str(cvfp.read(many)).splitlines()
    assert lines[-1] == "54 runs in 9 series; to_frame() has every run, read(where=EXPR) keeps some"
    assert len(lines) < 20


def test_results_are_drawn_and_written(table, tmp_path):
    pytest.importorskip("matplotlib")
    figure = cvfp.plot(cvfp.fit(table, ["power-law", "saturating"]), tmp_path / "fits.svg")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["power-law", "saturating"]
    assert "</svg>" in (tmp_path / "fits.svg").read_text()
    (axes,) = cvfp.predict(table, 4e6, "power-law").plot().axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("training tokens", "validation perplexity")
    assert max(line.get_xdata().max() for line in axes.get_lines() if hasattr(line.get_xdata(), "max")) == 4e6
    with pytest.raises(UsageError, match="cannot write"):
        cvfp.plot(cvfp.fit(table), tmp_path / "fits.docx")


def test_a_report_is_written_where_it_is_asked_for(table, tmp_path):
    made = cvfp.write_report(table, tmp_path / "new" / "report.md", template="fits", figures=False)
    assert (tmp_path / "new" / "report.md").read_text() == str(made) == made._repr_markdown_()
    page = cvfp.write_report(pl.read_csv(table), tmp_path / "report.html")
    assert page.text.startswith("<!doctype html>")
    frame = page._repr_html_()  # its styles are not to become the notebook's
    assert frame.startswith('<iframe srcdoc="&lt;!doctype html&gt;')
    assert "<style" not in frame
    assert page._repr_markdown_() is None
    with pytest.raises(UsageError, match="it is a folder"):
        cvfp.write_report(table, tmp_path)


@pytest.mark.slow
def test_a_program_that_trains_a_grid_prints_nothing(tmp_path):
    made_grids.corpus(tmp_path)
    code = """
import cvfp_core as cvfp
if __name__ == "__main__":
    made = cvfp.run(overrides={"variants": ["1L_16d_1tok"], "samples": [4, 8], "device": "cpu", "corpus": {
        "name": "text", "path": "corpus.txt", "vocab_size": 300, "embed_dim": 16}},
        set=["phase1.max_iterations=4", "phase2.epochs=2"], jobs=2)
    assert len(made) == 2
"""
    (tmp_path / "train.py").write_text(code)
    done = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, env=made_grids.environment(tmp_path), text=True,
                          capture_output=True, check=False, timeout=900)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_package_says_that_it_is_typed():
    assert [package.name for package in PACKAGES if not (package / "py.typed").exists()] == []


def test_a_series_without_a_trend_is_said_to_have_none():
    tokens, noise = 2.0 ** np.arange(5), np.array([0.02, -0.03, 0.03, -0.02, 0.01])
    flat, steep = (pl.DataFrame({"train_tokens": 1e6 * tokens, "val_ppl": 100 * tokens**power * np.exp(noise)})
                   for power in (0.0, -0.3))
    for runs, said in ((flat, True), (steep, False)):
        assert cvfp.fit(runs)[0].trendless == said
        assert ("no trend found: the interval of alpha holds 0" in cvfp.fit(runs).text(100)) == said
        assert ("no trend found" in cvfp.read(runs).text(100)) == said
