"""What Python's verbs are given wrongly: one line each, what was asked for, what was found, what to do."""

import inspect
import traceback
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import cvfp_core as cvfp
from cvfp_core.errors import CvfpError, UsageError
from cvfp_core.results import arguments
from laws_data import power
from test_python import VERBS

SWEEP = pl.DataFrame({"params": [1e6, 4e6, 16e6, 64e6, 256e6], "val_loss": [4.21, 3.74, 3.38, 3.10, 2.89]})
GIVEN = {"runs": SWEEP, "at": 1e9, "flops": 1e21, "target": {"params": 1e9}, "budget": 1e20,
         "result": cvfp.fit(SWEEP, x="params", y="val_loss")}
"""Arguments that a verb needs, beside the one that is wrong."""
NEVER = (b"x", object(), [None], [["x"]], {"x"}, {1: 2}, np.array([[None]]), lambda: 0)
"""What no argument takes."""
WRONG = (*NEVER, None, 3.5, True, "", [], {"x": object()})
PARAMETERS = [(name, parameter) for name in VERBS
              for parameter in inspect.signature(getattr(cvfp, name)).parameters.values()]


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS, ids=lambda each: getattr(each, "name", each))
def test_every_argument_of_every_verb_refuses_what_it_does_not_take_in_one_line_that_names_it(name, parameter):
    verb = getattr(cvfp, name)
    needed = [each.name for each in inspect.signature(verb).parameters.values()
              if each.default is each.empty and each.kind is not each.VAR_POSITIONAL]
    refused = 0
    for wrong in WRONG:
        given = {key: GIVEN.get(key) for key in needed} | {parameter.name: wrong}
        args = [wrong] if parameter.kind is parameter.VAR_POSITIONAL else []
        taken = arguments._TYPES[parameter.annotation.removesuffix(" | None")][1](wrong)
        if not any(wrong is each for each in NEVER) and (taken or (wrong is None and parameter.default is None)):
            continue
        with pytest.raises(UsageError) as caught:
            verb(*args, **{} if args else given)
        refused += 1
        said = str(caught.value)
        assert "\n" not in said
        assert said.startswith(f"{name}(): {parameter.name} must be ")
        assert "; found " in said
    assert refused >= len(NEVER)


def test_every_example_that_an_error_gives_is_taken_by_the_arguments_of_that_name():
    by_name = {(each.name, each.annotation.removesuffix(" | None")) for _, each in PARAMETERS}
    assert arguments._EXAMPLES.keys() <= {name for name, _ in by_name}
    for name, kind in by_name:
        if name in arguments._EXAMPLES:
            assert arguments._TYPES[kind][1](eval(arguments._EXAMPLES[name])), (name, kind)


MISTAKES = [
    (lambda: cvfp.run(["a.toml", "b.toml"]), "run(): run_file must be one path; found list ['a.toml', 'b.toml']"),
    (lambda: cvfp.write_report(SWEEP, ["r.md"]), "write_report(): path must be one path; found list ['r.md']"),
    (lambda: cvfp.fit(None), "fit(): runs must be a path, a frame of polars or pandas, what read() gave, or a list of"),
    (lambda: cvfp.fit(SWEEP, where=["params > 1"]), 'where must be one str, such as where="params > 1e6"; found list'),
    (lambda: cvfp.fit(SWEEP, wher="params > 1"), "fit() takes no 'wher'; did you mean 'where'?; it takes: runs, law"),
    (lambda: cvfp.predict(SWEEP), "predict(): missing a required argument: 'at'; it takes: runs, at, law"),
    (lambda: cvfp.fit(SWEEP, "saturating", "params"), "fit(): too many positional arguments; it takes: runs, law, x"),
    (lambda: cvfp.read(Path("nowhere/runs")), "'nowhere/runs' does not exist; give a folder that `cvfp run` made"),
    (lambda: cvfp.read([]), "no runs given; name a folder of runs, a log or a table, or give a frame"),
    (lambda: cvfp.fit(pl.DataFrame({"val_loss": [3.0, 2.5, 2.2]})),
     "is no run, which has a size and a metric; the columns are 'val_loss'; say"),
    (lambda: cvfp.fit(SWEEP, "saturating"), "'saturating' needs train_tokens, val_ppl; no run has train_tokens; there"),
    (lambda: cvfp.fit(SWEEP, "satrating"), "unknown law 'satrating'; did you mean 'saturating'?"),
    (lambda: cvfp.run(jobs=-1), "run(): jobs must be at least 0, which is as many as fit the machine; found -1"),
    (lambda: cvfp.fit([cvfp.read(SWEEP)]), "what read() gave, or a list of paths and frames; found list of Runs"),
    (lambda: cvfp.fit(SWEEP, x="params", y="params"), "--x params --y params: a law explains one quantity by another"),
    (lambda: cvfp.read(SWEEP.head(0)), "no runs in the frame: nothing in it is a run; give logs, tables, or folders"),
    (lambda: cvfp.optimum(SWEEP, True), "must be a number or a list of numbers, such as flops=1e21; found bool True"),
    (lambda: cvfp.write_report(SWEEP, embed=1), "write_report(): embed must be True or False; found int 1"),
    (lambda: cvfp.run(jobs=2.5), "run(): jobs must be a whole number, such as jobs=2; found float 2.5"),
    (lambda: cvfp.compare(), "nothing to compare; give the runs of two arms or more, or of several told apart by"),
    (lambda: cvfp.plot(SWEEP), "plot(): result must be what fit(), predict(), optimum(), compare(), plan() or"),
    (lambda: cvfp.predict(SWEEP, {"params": "far"}, "saturating", x="params", y="val_loss"), "must be a positive"),
]


@pytest.mark.parametrize(("call", "said"), MISTAKES, ids=[said[:40] for _, said in MISTAKES])
def test_a_mistake_is_one_line_that_names_the_remedy_at_the_end_of_two_frames(call, said):
    with pytest.raises(CvfpError) as caught:
        call()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert [Path(frame.filename).name for frame in frames[-2:]] == [Path(__file__).name, "arguments.py"]


def test_a_frame_of_pandas_is_read_as_a_table_is_or_says_which_cell_it_stumbles_over():
    pandas = pytest.importorskip("pandas")
    sizes, losses = [1e6, 4e6, 16e6], [4.2, 3.7, 3.4]
    known = cvfp.read(pl.DataFrame({"params": sizes, "val_loss": losses})).records
    for frame in (pandas.DataFrame({"params": [1e6, "4e6", "16M"], "val_loss": losses}),
                  pandas.DataFrame({"params": sizes, "val_loss": losses}).set_index("params"),
                  pandas.DataFrame({"params": sizes, "val_loss": losses}).astype({"params": "Int64"})):
        assert cvfp.read(frame).records.select("params", "val_loss").equals(known.select("params", "val_loss"))
    for frame, said in (
        (pandas.DataFrame({"params": [1e6, "4e6", "many"], "val_loss": losses}), "1:3: 'params' is not a finite"),
        (pandas.DataFrame({"params": sizes, "val_loss": [4.2, [3], 3.4]}), "1:2: 'val_loss' is not a finite number"),
        (pandas.DataFrame([[1e6, 4.2, 4.3]], columns=["params", "val_loss", "val_loss"]),
         "the frame has several columns 'val_loss'; give each a name of its own"),
    ):
        with pytest.raises(CvfpError) as caught:
            cvfp.read(frame)
        assert said in str(caught.value)
    dated = pandas.DataFrame({"params": sizes, "val_loss": losses, "day": pandas.to_datetime(["2026-01-02"] * 3)})
    assert len(cvfp.read(dated).text(80).splitlines()) >= 4


def test_arrays_and_numbers_of_numpy_and_polars_are_taken_as_pythons_own():
    tokens = 6e4 * 2.0 ** np.arange(6)
    frame = pl.DataFrame({"train_tokens": tokens, "val_ppl": power(tokens)})
    at = [each.inputs["train_tokens"] for each in cvfp.predict(frame, {"train_tokens": np.geomspace(1e7, 1e9, 3)},
                                                               "power-law")]
    assert at == pytest.approx([1e7, 1e8, 1e9])
    assert cvfp.predict(frame, np.float64(1e7), "power-law")[0].value == cvfp.predict(frame, 1e7, "power-law")[0].value
    given = cvfp.predict(frame, {"train_tokens": pl.Series([1e7, 1e8])}, "power-law")
    assert len(given) == 2
    report = cvfp.write_report(frame, at=np.int64(10_000_000), law="power-law", figures=False)
    assert "| 10M |" in report.text


def test_the_traceback_of_an_error_is_printed_to_who_asks(monkeypatch, capsys):
    monkeypatch.setenv("CVFP_TRACEBACK", "1")
    with pytest.raises(CvfpError):
        cvfp.read("nowhere")
    assert "reading.py" in capsys.readouterr().err
