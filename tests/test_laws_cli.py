"""`cvfp fit`, `cvfp predict`, `cvfp laws`: what they print, as data and for people."""

import json
import re
import shlex
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from cvfp_core.cli.app import app as cvfp
from cvfp_core.cli.asked import number, points, settings
from cvfp_core.cli.fit import fit
from cvfp_core.cli.laws import laws
from cvfp_core.cli.predict import predict
from cvfp_core.errors import UsageError
from cvfp_core.fitting import Prediction
from cvfp_core.ingesting.reading import Inputs
from cvfp_core.results import runs as reading
from cvfp_core.results.forecasts import Forecasts
from cvfp_core.results.numbers import interval, short
from laws_data import SHARED, made, needs_shared, power
from published_laws import TRUTHS


def command(*arguments, code=0, width=80):
    """What `cvfp` with the arguments printed, on a terminal of that width."""
    done = CliRunner().invoke(cvfp, list(map(str, arguments)), env={"COLUMNS": str(width), "NO_COLOR": "1"})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.stderr
    return done


TOKENS = 6e4 * 2.0 ** np.arange(5)


@pytest.fixture
def run(monkeypatch):
    """Runs a command of a small app on made-up records of three series; returns its output."""
    records = pl.concat([
        made(TOKENS, power(TOKENS, floor=80, noise=0.01, seed=1), variant="1L_768d_1tok"),
        made(TOKENS[:4], power(TOKENS[:4], noise=0.01, seed=2), variant="1L_1085d_2tok"),
        made(TOKENS[:1], power(TOKENS[:1]), variant="1L_64d_1tok"),
    ])
    given = reading.Runs(inputs=Inputs(records=records, sources=(), duplicates=0, files=list, curves=pl.DataFrame))
    monkeypatch.setattr(reading, "read", lambda *_, **__: given)
    app = typer.Typer()
    for command in (fit, predict, laws):
        app.command(command.__name__)(command)

    def invoke(*arguments, width=100):
        result = CliRunner().invoke(app, arguments, env={"COLUMNS": str(width), "NO_COLOR": "1"})
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.stdout

    return invoke


def test_fit_prints_alpha_with_its_interval_and_says_what_it_refused(run):
    out = run("fit", "x")
    assert "PPL = A * tokens^alpha" in out
    assert "1L_768d_1tok" in out
    assert "[-0." in out
    assert "1L_64d_1tok: too few points: 1 run (train_tokens 60,000): a law needs more" in out


@pytest.mark.parametrize("width", [80, 100, 200])
def test_no_line_is_wider_than_the_terminal_and_no_name_is_broken(run, width):
    out = run("fit", "x", "--law", "saturating", "--law", "hill", width=width)
    assert max(len(line) for line in out.splitlines()) <= width
    assert out.count("e:1L_1085d_2tok") >= 2


def test_json_of_fits_and_predictions_is_strict_and_complete(run):
    def refuse(text):
        raise AssertionError(f"{text} is not JSON")

    fits = json.loads(run("fit", "x", "--law", "power-law", "--law", "saturating", "--sensitivity", "--json"),
                      parse_constant=refuse)
    assert [(each["law"], each["n"]) for each in fits] == [
        ("power-law", 5), ("power-law", 4), ("power-law", 1), ("saturating", 5), ("saturating", 4), ("saturating", 1)]
    assert fits[0]["sensitivity"][0]["name"] == "log least squares"
    forecast = json.loads(run("predict", "x", "--tokens", "5M", "--json"), parse_constant=refuse)
    assert forecast["choice"]["law"] in ("power-law", "saturating")
    assert [each["value"] is None for each in forecast["predictions"]] == [False, False, True]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_prediction_fits_the_terminal_and_breaks_no_number(run, width):
    out = run("predict", "x", "--tokens", "1e9", width=width)
    assert max(len(line) for line in out.splitlines()) <= width
    plain = json.loads(run("predict", "x", "--tokens", "1e9", "--json"))["predictions"]
    assert [each["series"] for each in plain if each["run_low"] is not None] == ["e:1L_768d_1tok", "e:1L_1085d_2tok"]
    for each in plain[:2]:
        for low, high in (("mean_low", "mean_high"), ("run_low", "run_high")):
            assert interval(each[low], each[high], method="", value=each["value"]) in out
        assert out.count(each["series"]) > 0
        assert short(each["distance"]) in out
    assert ("new run" in out.splitlines()[1]) == (width > 60)  # the heading of a column, or a row of its own


def test_a_long_name_gives_way_to_numbers():
    series = "an-experiment-with-a-name-of-many-words:1L_768d_1tok"
    low, high = 123.4, 2.5e9
    forecasts = Forecasts(choice=None, asked=None, items=(Prediction(
        series=series, law="saturating", inputs={"train_tokens": 1e6}, value=200.0, distances={"train_tokens": 1e12},
        mean_low=low, mean_high=high, run_low=low, run_high=high,
    ),))
    lines = forecasts.text(80).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(interval(low, high, method="", value=200.0) in line for line in lines) == 2
    assert series in "".join(line.strip().split("  ")[0] for line in lines[2:])


def test_predict_shows_interval_law_distance_and_warning(run):
    out = run("predict", "x", "--tokens", "20M")
    assert "val_ppl at train_tokens = 20,000,000" in out
    assert "no interval covers a change of law out there" in " ".join(out.split())
    assert "back-test" in out


def test_laws_lists_every_law_with_its_form(run):
    out = run("laws")
    listed = json.loads(run("laws", "--json"))
    assert [each["name"] for each in listed] == [
        "power-law", "saturating", "exp-decay", "hill", "pinned-floor", "sliding-window", "log-linear-er", "linear-er",
        "new-configuration", "ceiling", "chinchilla", *TRUTHS]
    for each in listed:
        assert each["name"] in out
        assert each["plugin"].startswith("plugin 'laws'")


def test_one_law_is_shown_whole_with_source_domain_and_units():
    out = command("laws", "data-constrained").stdout
    for text in ("arXiv:2305.16264", "each unique token at least once", "not for fresh tokens: `chinchilla`",
                 "unique_tokens (tokens): distinct tokens",
                 "val_loss (nat a token)", "R_D (epochs, 0.1 to 10000): repetitions", "7 runs, all of the records"):
        assert text in " ".join(out.split())
    (plain,) = json.loads(command("laws", "data-constrained", "--json").stdout)
    assert plain["units"] == {"params": "", "tokens_seen": "tokens", "unique_tokens": "tokens",
                              "val_loss": "nat a token"}
    assert "unknown law 'moo'; did you mean 'moe'" in command("laws", "moo", code=2).stderr


@pytest.mark.parametrize("name", [None, *TRUTHS])
def test_no_line_about_laws_is_wider_than_the_terminal(name):
    out = command("laws", *([name] if name else []), width=80).stdout
    assert max(map(len, out.splitlines())) <= 80


def test_listing_laws_imports_neither_lmfit_nor_torch_nor_polars():
    code = ("import sys; from cvfp_core.cli.laws import laws; laws(json_=True);"
            "print(sorted({'lmfit', 'torch', 'polars', 'numpy', 'scipy'} & set(sys.modules)), file=sys.stderr)")
    made_of = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made_of.stderr.strip() == "[]"


def test_settings_are_toml_values_or_words():
    assert settings(["E=20", "delta=1e-3", "covariate=train_er", "loss = 'x'"]) == {
        "E": 20, "delta": 1e-3, "covariate": "train_er", "loss": "x"}
    for wrong in ("E", "=3", "E=", "E=[1]"):
        with pytest.raises(UsageError):
            settings([wrong])


def test_tokens_are_written_as_people_do():
    assert [number(text, "--tokens") for text in ("5e6", "10_000_000", "2M", "1.5B", "300k")] == [
        5e6, 1e7, 2e6, 1.5e9, 3e5]
    for wrong in ("", "0", "-1", "nan", "inf", "many", "M"):
        with pytest.raises(UsageError, match="--tokens must be a positive number"):
            number(wrong, "--tokens", positive=True)


def test_points_are_values_by_input():
    assert points(["params=7e9", "train_tokens=1M, 10x"], None) == {"params": [7e9], "train_tokens": [1e6, "10x"]}
    assert points(None, "2M") == {"train_tokens": [2e6]}
    assert points(["params=1"], "10x") == {"train_tokens": ["10x"], "params": [1.0]}
    for wrong, said in ((["params"], "takes NAME=VALUE"), (["=3"], "takes NAME=VALUE"), ([], "no point to predict at"),
                        (["params=0x"], "positive"), (["params=1,"], "--at params"), (["a=1", "a=2"], "twice")):
        with pytest.raises(UsageError, match=said):
            points(wrong, None)
    with pytest.raises(UsageError, match="'train_tokens' is given twice"):
        points(["train_tokens=1"], "2M")


CHINCHILLA = ("--map", "params=`Model Size`", "--map", "flops=`Training FLOP`", "--map",
              "train_tokens=`Training FLOP`/(6*`Model Size`)", "--map", "val_loss=loss")


@needs_shared
def test_a_published_surface_is_fitted_and_forecast_from_its_table_in_one_command():
    table = SHARED / "anchors" / "chinchilla.csv"
    asked = ("predict", table, *CHINCHILLA, "--where", "val_loss < 3.43", "--law", "chinchilla", "--at", "params=7e9",
             "--at", "train_tokens=1.4e11")
    done = command(*asked)
    assert done.stderr == "cvfp: --where keeps 240 of 245 runs\n"
    assert done.stdout.splitlines()[0] == "val_loss at params = 7e9, train_tokens = 1.4e11"
    assert max(map(len, done.stdout.splitlines())) <= 80
    (each,) = json.loads(command(*asked, "--json").stdout)["predictions"]
    assert f"{each['value']:.2f}" == "2.17"
    assert each["mean_low"] < each["value"] < each["mean_high"]
    assert {name: f"{times:.2g}" for name, times in each["distances"].items()} == {
        "params": "0.43", "train_tokens": "0.44"}
    tested = json.loads(command(*asked, "--along", "params", "--json").stdout)["choice"]["candidates"]
    assert [(each["law"], 0 < each["backtest"] < 0.02) for each in tested] == [("chinchilla", True)]
    far = command(*asked[:-1], "train_tokens=1e16").stdout
    assert "times the largest train_tokens fitted" in " ".join(far.split())
    assert "outside the hull" in " ".join(far.split())
    fitted = command("fit", table, *CHINCHILLA, "--law", "chinchilla").stdout
    assert [line.split()[0] for line in fitted.splitlines()[3:8]] == ["E", "A", "alpha", "B", "beta"]
    shown = command("show", table, *CHINCHILLA, "--all").stdout.splitlines()
    assert shown[1].split()[:4] == ["train_tokens", "val_loss", "params", "flops"]
    assert max(map(len, shown[:-3])) <= 80


@needs_shared
def test_any_column_is_an_axis_and_tells_series_apart():
    asked = (SHARED / "anchors" / "nanogpt_width.csv", "--x", "n_embd", "--y", "loss", "--by", "series")
    out = command("fit", *asked).stdout
    assert out.splitlines()[0] == "power-law  loss = A * n_embd^alpha"
    assert len([line for line in out.splitlines() if re.match(r"\d+ +6 +-0\.1", line)]) == 12
    ahead = command("predict", *asked, "--law", "saturating", "--at", "n_embd=768,2x", "--json")
    found = json.loads(ahead.stdout)["predictions"]
    assert len(found) == 24
    assert {each["inputs"]["n_embd"] for each in found} == {768.0, 384.0}
    assert {each["response"] for each in found} == {"loss"}


@pytest.fixture
def rising(tmp_path):
    """A table of accuracies that rise with FLOPs to 0.8, of two series of one seed each."""
    flops = 1e18 * 4.0 ** np.arange(7)
    noise = np.random.default_rng(0).normal(0, 0.002, 14)
    file = tmp_path / "acc.csv"
    pl.DataFrame({
        "model": ["a"] * 7 + ["b"] * 7, "flops": np.tile(flops, 2), "note": ["x"] * 14, "minus": [-1.0] * 14,
        "val_acc": np.concatenate([0.8 - 0.5 * (flops / 1e18) ** -0.3, 0.7 - 0.4 * (flops / 1e18) ** -0.3]) + noise,
    }).write_csv(file)
    return file


def test_a_rising_bounded_metric_is_fitted_over_compute(rising):
    asked = ("--law", "ceiling", "--x", "flops", "--y", "val_acc", "--by", "model")
    fits = json.loads(command("fit", rising, *asked, "--json").stdout)
    assert [(each["inputs"], each["response"], each["status"]) for each in fits] == [
        (["flops"], "val_acc", "converged")] * 2
    for each, ceiling in zip(fits, (0.8, 0.7), strict=True):
        (estimate,) = [one for one in each["estimates"] if one["name"] == "E"]
        assert estimate["low"] < ceiling < estimate["high"]
    (a, b) = json.loads(command("predict", rising, *asked, "--at", "flops=100x", "--json").stdout)["predictions"]
    assert a["run_low"] < 0.8 - 0.5 * 409600**-0.3 < a["run_high"]
    assert b["value"] < a["value"] < 1


LACKS = r"no run has {}.*; there are: {}.*; say which it is: --map {}=COLUMN"
WRONG = {
    "fit {} --x flopz --y val_acc": r"law 'power-law' needs flopz, val_acc; " + LACKS.format("flopz", "flops", "flopz"),
    "fit {} --x flops": r"law 'power-law' needs flops, val_ppl; " + LACKS.format("val_ppl", "val_acc", "val_ppl"),
    "fit {} --x flops --y note": r"column 'note' holds no numbers, so no law can be fitted to it",
    "fit {} --x flops --y val_acc --by modle":
        r"records have no column 'modle'; did you mean 'model'\?; there are: model.*",
    "fit {} --x flops --y minus": r"law 'power-law' takes the logarithm of minus, which is positive in no run; map .*",
    "fit {} --law chinchilla": r"law 'chinchilla' needs params, train_tokens, val_loss; "
                               + LACKS.format("params or train_tokens or val_loss", "", "params"),
    "fit {} --law chinchilla --x flops":
        r"--x flops: law 'chinchilla' is a function of params, train_tokens; .*: --map params=flops",
    "predict {} --law chinchilla --at params=7e9 --map params=flops --map train_tokens=flops --map val_loss=val_acc":
        r"law 'chinchilla' is a function of params, train_tokens; give --at train_tokens=\.\.\.",
    "predict {} --at flops=3": r"the choice of a law needs train_tokens, val_ppl; "
                               + LACKS.format("train_tokens or val_ppl", "", "train_tokens"),
    "predict {} --x flops --y val_acc --at tokens=3": r"--at train_tokens: law '.*' is a function of flops",
    "predict {} --x flops --y val_acc --at flops=3 --set E=1": r"law 'auto' takes no options, found E; name a law .*",
    "predict {} --x flops --y val_acc --law ceiling --at flops=3 --set E=1": r"no option 'E' for ceiling; known: none",
    "fit {} --x flops --y val_acc --by val_acc": r"every series has one run, so there is nothing to fit \(.*\); .*",
    "show {} --where 'val_acc >'": r"--where .*",
    "show {} --where 'val_acc > 3'": r"--where val_acc > 3: is true for none of 14 runs",
    "show {} --map val_acc=acc": r"--map val_acc=acc: no column 'acc'; did you mean 'val_acc'\?; there are: val_acc.*",
}


@pytest.mark.parametrize("line", WRONG)
def test_what_is_asked_wrongly_is_said_in_one_line_with_exit_code_2(line, rising):
    done = command(*shlex.split(line.format(rising)), code=2)
    assert done.stdout == ""
    *notes, said = done.stderr.splitlines()
    assert all(note.endswith(": series are told apart by model (--by overrides)") for note in notes)
    assert re.fullmatch(f"cvfp: {WRONG[line]}", said), said
