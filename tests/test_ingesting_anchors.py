"""What is read against what stands in the files, by values stated by hand: numbers, lines, steps, runs, names."""

import json
import math
import zipfile
from array import array
from pathlib import Path

import polars as pl
import pytest

import cvfp_core as cvfp
from cvfp_core.errors import CvfpError, CvfpWarning
from cvfp_core.ingesting import configs, console, lines, mapping, naming, published, sources, storing, tags
from cvfp_core.ingesting.aliases import names_of
from cvfp_core.ingesting.delimited import column_names, value
from cvfp_core.ingesting.doubts import doubts
from cvfp_core.ingesting.grammars import Grammar
from cvfp_core.ingesting.reading import _once
from cvfp_core.ingesting.reading import read as read_inputs
from cvfp_core.ingesting.rows import Refusal, Rows
from cvfp_core.ingesting.run import ingest
from cvfp_core.ingesting.spool import Spool
from cvfp_core.registry import installed
from cvfp_core.registry.kinds import Ingester, IngestOptions
from cvfp_core.schema import store
from cvfp_core.schema.found import Curve, FoundRun, NotUnderstood, PublishedAlpha, Remark, Tally
from cvfp_core.schema.records import CURVE_SCHEMA, Record, frame
from ingesting import read, registry, with_ingesters, write


def test_files_that_are_read_alike_share_one_note(tmp_path):
    for number, name in enumerate("abc"):
        (tmp_path / f"{name}.csv").write_text(f"N,D,loss\n1e6,2e7,3.{number}\n2e6,4e7,2.{number}\n")
    both = ["D is read as train_tokens, loss is read as val_loss, N is read as params"]
    assert cvfp.read(tmp_path / "a.csv").inputs.notes == (f"a.csv: {both[0]}",)
    assert cvfp.read([tmp_path / "a.csv", tmp_path / "b.csv"]).inputs.notes == (f"a.csv and 1 more: {both[0]}",)
    assert cvfp.read([tmp_path / f"{name}.csv" for name in "abc"]).inputs.notes == (f"a.csv and 2 more: {both[0]}",)


def test_a_row_whose_step_is_no_step_is_reported_and_the_others_are_read(tmp_path):
    file = tmp_path / "s.csv"
    file.write_text("step,val_loss\n1,3.0\n1.5,2.9\n2,2.8\n")
    made = ingest([file], installed())
    assert [*map(str, made.messages)] == ["s.csv:3: expected a whole number in 'step', found '1.5'"]
    (run,) = made.records.to_dicts()
    assert run["val_loss"] == 2.8
    assert made.curves.filter(metric="val_loss").rows_by_key("step", named=False).keys() == {1, 2}


def test_of_a_point_given_twice_the_first_is_kept():
    points = pl.DataFrame([{"run_id": run, "phase": 2, "step": 1, "metric": "val_loss", "value": value}
                           for run, value in (("a", 3.0), ("a", 2.0), ("b", 1.0))], schema=CURVE_SCHEMA)
    made = _once(points, frame([Record(run_id="a", experiment="e")]))
    assert made.select("run_id", "value").rows() == [("a", 3.0)]


@pytest.mark.parametrize(("column", "values", "said"), [
    ("params", (124.0, 774.0), "params 124 to 774: all below 1,000; "),
    ("params", (124.0, 1e9), None),
    ("val_loss", (30.0, 90.0), "val_loss 30 to 90: mostly above "),
    ("val_loss", (2.0, 3.0), None),
])
def test_numbers_in_another_unit_are_questioned(column, values, said):
    records = frame([Record(run_id=str(at), experiment="e", **{column: value}) for at, value in enumerate(values)])
    told = list(doubts(records, {}))
    assert [line[: len(said)] for line in told] == [said] if said else not told


@pytest.mark.parametrize(("column", "name", "factor"), [
    *((f"params ({unit})", "params", 10.0**power) for units, power in (
        ("k thousand", 3), ("m mn million", 6), ("b bn g billion giga", 9), ("t tera trillion", 12), ("p peta", 15),
        ("e exa", 18), ("z zetta", 21), ("1e6 10^6", 6), ("params", 0)) for unit in units.split()),
    ("tokens_B", "train_tokens", 1e9), ("tokens in millions", "train_tokens", 1e6), ("flops (FLOPs)", "flops", 1.0),
    ("flops (PF-days)", "flops", 8.64e19), ("val loss (nat)", "val_loss", 1.0), ("val_loss_nats", "val_loss", 1.0),
    ("val loss (bits)", "val_loss", math.log(2)), ("loss_val_bit", "val_loss", math.log(2)),
    ("val acc (%)", "val_acc", 0.01), ("seconds_phase1 (s)", "seconds_phase1", 1.0),
    ("seconds_phase1 (hours)", "seconds_phase1", None), ("params (dozen)", "params", None),
])
def test_a_heading_with_a_unit_is_a_quantity_and_a_factor(column, name, factor):
    meaning = names_of({}).meaning(column)
    assert (meaning.quantity.name, meaning.factor) == (name, factor)


@pytest.mark.parametrize(("cell", "number"), [
    ("5%", 0.05), ("81.3%", 0.813), ("-0.5%", -0.005), ("1,234,567", 1234567.0), ("12", 12), ("nan%", "nan%"),
])
def test_a_cell_is_the_number_it_says(cell, number):
    assert value(cell) == number


def test_headings_that_come_again_are_numbered():
    assert column_names(["", "loss", "loss", "", "loss", "loss"]) == ["", "loss", "loss_2", "column_4", "loss_3",
                                                                      "loss_4"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_lines_are_read_in_the_encoding_they_were_written_in(tmp_path, encoding):
    file = write(tmp_path, "step 1: loss 2.5\nstep 2: loss 2.25\n".encode(encoding))
    assert [line for _, _, batch in lines.read_lines(file) for line in batch] == ["step 1: loss 2.5",
                                                                                 "step 2: loss 2.25"]


def test_lines_have_the_numbers_an_editor_shows(tmp_path):
    file = write(tmp_path, b"a\nb\n\n1%\r50%\rdone\nc\n\x1b[1md\x1b[0m\ne\r\r2\nf\n")
    numbered = [(first + step * index, line) for first, step, batch in lines.read_lines(file)
                for index, line in enumerate(batch)]
    assert numbered == [(1, "a"), (2, "b"), (3, ""), (4, "1%"), (4, "50%"), (4, "done"), (5, "c"), (6, "d"), (7, "e"),
                        (7, "2"), (8, "f")]


def test_a_line_that_is_too_long_is_marked_and_no_other_is(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "CHUNK", 100)
    monkeypatch.setattr(lines, "LONGEST", 200)
    others = [f"line {number}" for number in range(50)]
    file = write(tmp_path, "\n".join(["x" * 5000, *others, "y" * 900]))
    first, *rest, last = (line for _, _, batch in lines.read_lines(file) for line in batch)
    assert (rest, first[:200], last[:200]) == (others, "x" * 200, "y" * 200)
    assert all(line.endswith(lines.CUT) and len(line) <= 200 + 100 + len(lines.CUT) for line in (first, last))


@pytest.mark.parametrize(("name", "shown"), [
    ("a.csv", "a.csv"), ("é b.csv", "é b.csv"), ("a\x1b[31m.csv", "a\ufffd[31m.csv"), ("\u202ea", "\ufffda")])
def test_the_name_of_a_file_commands_no_terminal(name, shown):
    assert lines.shown_name(name) == shown


LOG = Grammar(name="made", title="made", points=("step {step} of {steps}: loss {loss}", "held-out loss {val_loss}"),
              facts=("model has {params} parameters", "{+params} parameters on {}", "[{seed}] is the seed"))
EPOCHS = Grammar(name="made", title="made", points=("epoch {epoch}: loss {val_loss}",), counted_by="epoch",
                 signs=("epoch {epoch}:",))


def logged(folder, text, grammar=LOG):
    """What a log says: its runs, lines that are not understood, tally, remarks."""
    found = list(console.read(grammar, write(folder, text), IngestOptions()))
    return [[each for each in found if isinstance(each, kind)] for kind in (FoundRun, NotUnderstood, Tally, Remark)]


def test_every_line_of_a_log_is_accounted_for_and_what_is_cut_is_named(tmp_path):
    (run,), missed, (tally,), _ = logged(tmp_path, (
        "step 1 of 10: loss\nmodel has 5 parameters\nhello\nstep 1 of 10: loss 3\nheld-out loss 2.5\n"
        "step 2 of 10: loss 40%\nstep 2 of 10: loss 2.5x\n"))
    assert [(each.line, each.found) for each in missed] == [
        (1, "'step 1 of 10: loss'"), (6, "'step 2 of 10: loss 40%'"), (7, "'step 2 of 10: loss 2.5x'")]
    assert tally == Tally(record=1, curve=2, noise=1)
    assert (run.columns["params"], run.columns["train_loss"], run.columns["val_loss"]) == (5, 3, 2.5)
    assert {curve.metric: curve.steps for curve in run.curves} == {"loss": [1], "val_loss": [1]}


def test_a_log_that_says_no_step_says_what_is_missing(tmp_path):
    runs, (missed,), (tally,), _ = logged(tmp_path, "model has 5 parameters\n")
    assert (runs, tally) == ([], Tally(record=1, curve=0, noise=0))
    assert (missed.expected, missed.found) == ("'step {step} of {steps}: loss {loss}'", "no such line")


def test_a_log_that_ends_at_step_0_says_so_and_parts_are_added_up(tmp_path):
    text = "INFO[7] is the seed\n100 parameters on node1\n200 parameters on node2\nstep 0 of 10: loss 3\n"
    (run,), _, _, remarks = logged(tmp_path, text)
    assert (run.columns["params"], run.columns["seed"]) == (300, 7)
    assert remarks[-1].text == "ends at step 0 of 10"


def test_epochs_that_begin_anew_are_another_run(tmp_path):
    text = "".join(f"epoch {epoch}: loss {loss}\n" for epoch, loss in ((1, 5), (2, 4), (3, 3), (1, 9), (2, 8)))
    runs, _, _, _ = logged(tmp_path, text, EPOCHS)
    assert [(run.columns["step"], run.columns["val_loss"]) for run in runs] == [(3, 3), (2, 8)]


@pytest.mark.parametrize(("printed", "number"), [
    ("3K", 3000), ("1.5M", 1_500_000), ("2B", 2e9), ("4T", 4e12), ("1,234,567", 1_234_567), ("1.25e3", 1250)])
def test_a_number_of_a_log_is_what_is_printed(tmp_path, printed, number):
    (run,), *_ = logged(tmp_path, f"model has {printed} parameters\nstep 1 of 2: loss 3\n")
    assert run.columns["params"] == number


def test_a_long_log_that_is_gone_meanwhile_is_known_by_its_beginning(tmp_path):
    head = b"step 1 of 10: loss 3\n" * 4000
    assert console.matches(LOG, tmp_path / "gone", head)
    assert not console.matches(LOG, tmp_path / "gone", b"-" * len(head))


def test_the_configurations_of_a_run_are_those_of_its_folder_and_none_above(tmp_path):
    for name in ("config.json", "run/config.yaml", "run/logs/hparams.yaml", "run/logs/metrics.csv",
                 "run/logs/summary.json"):
        write(tmp_path, "a: 1\n", name)
    metrics = tmp_path / "run" / "logs" / "metrics.csv"
    assert configs.beside(metrics) == (metrics.parent / "hparams.yaml", tmp_path / "run" / "config.yaml")
    assert configs.beside(metrics, metrics.parent) == (metrics.parent / "hparams.yaml",)
    assert configs.beside(tmp_path / "run") == (tmp_path / "run" / "config.yaml",)
    assert configs.results(metrics) == (metrics.parent / "summary.json",)
    for other in ("hparams.yaml", "summary.json", "none.csv"):
        assert configs.results(metrics.parent / other) == ()


def test_python_objects_of_a_configuration_are_what_they_hold(tmp_path):
    text = "a: !!python/object:x.Y {b: {c: 1}}\nd: !!python/name:torch.bfloat16 adam\ne: !mine [1, 2]\nf: 0.5\n"
    assert configs.read(write(tmp_path, text, "config.yaml")) == {"f": 0.5, "d": "adam", "a.b.c": 1}


def test_a_mapping_compares_texts_and_computes_numbers():
    rows = [{"lab": "north", "loss": 2}, {"lab": "south", "loss": 2.5}, {"loss": None}]
    mapping.apply({"north": "lab == 'north'", "double": "loss * 2"}, rows)
    assert [(row.get("north"), row["double"]) for row in rows] == [(True, 4.0), (False, 5.0), (None, None)]


@pytest.mark.parametrize(("name", "said"), [
    ("N1e7-lr3e-4_seed2.csv", {"params": 1e7, "learning_rate": 3e-4, "seed": 2}), ("seed1.5.csv", {"seed": 1.5})])
def test_a_size_in_a_name_is_as_it_stands_there(tmp_path, name, said):
    assert naming.said(write(tmp_path, "", name), IngestOptions(root=tmp_path)) == said


TABLE = "params,train_tokens,val_loss\n1e6,2e7,3.5\n"


def test_what_a_computer_hides_in_a_zip_is_not_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as packed:
        for name in ("a.csv", ".b.csv", "__MACOSX/c.csv", "__MACOSX/._a.csv"):
            packed.writestr(name, TABLE)
    made = read(tmp_path / "t.zip")
    assert ([file.name for file in made.files], made.records.height) == (["t.zip/a.csv"], 1)


def alpha(number, **more):
    return PublishedAlpha(line=1, variant="v", alpha=number, **more)


RUNS = pl.DataFrame({"experiment": ["e", "e"], "variant": ["v", "w"]})


@pytest.mark.parametrize(("others", "taken", "unlinked"), [
    ([alpha(-0.12341, experiment="e"), alpha(-0.1234, experiment="e", exact=False)], -0.12341, 0),
    ([alpha(-0.1234, experiment="e", exact=False), alpha(-0.14, experiment="e")], -0.14, 1),
    ([alpha(-0.1, experiment="e", exact=False), alpha(-0.1)], -0.1, 0),
    ([alpha(-0.2)], -0.2, 0),
])
def test_of_exponents_stated_twice_the_exact_one_counts_and_another_is_named(others, taken, unlinked):
    linked = published.link([(f"{number}.txt", each) for number, each in enumerate(others)], RUNS)
    assert linked.frame.select("experiment", "variant", "alpha").rows() == [("e", "v", taken)]
    assert len(linked.unlinked) == unlinked


def test_an_exponent_goes_with_its_runs_to_the_label_they_are_kept_under():
    names = {"_name": ["a", "b", "b"], "experiment": ["e", "f", "f"], "variant": ["v", "v", "w"]}
    found = pl.DataFrame(names | {"content": ["1", "1", "2"]})
    stated = [("b", alpha(-0.1, experiment="f")), ("b", PublishedAlpha(line=2, variant="w", alpha=0.1, experiment="f"))]
    relabelled = published.relabelled(stated, found, found.unique("content", keep="first", maintain_order=True))
    assert [each.experiment for _, each in relabelled] == ["e", "f"]


def test_exponents_that_are_stated_again_stand_once_beside_the_runs():
    stated = published.link([("a", alpha(-0.1)), ("a", alpha(-0.3, first_samples=1, last_samples=9))], RUNS).frame
    once = published.beside(RUNS, stated)
    assert once.columns == ["experiment", "variant", "published_alpha", "published_windows"]
    assert published.beside(once, stated).equals(once)
    assert once.rows() == [("e", "v", -0.1, "[[1, 9, -0.3]]"), ("e", "w", None, None)]
    assert published.frame_of(once)["alpha"].to_list() == [-0.1, -0.3]


def test_inputs_are_named_and_counted_and_what_is_damaged_has_no_runs(tmp_path, monkeypatch):
    folder = store.create(tmp_path / "runs")
    for name in "ab":
        store.write_record(folder, {"run_id": name, "experiment": "e"})
    (folder / "records" / "b.json").write_text("torn")
    monkeypatch.chdir(folder)
    for path in (folder, Path()):
        with pytest.warns(CvfpWarning, match=r"b\.json"):
            inputs = read_inputs(path, registry())
        assert [(source.name, source.runs) for source in inputs.sources] == [("runs", 1), ("runs/records/b.json", 0)]
        assert [file.name for file in inputs.files()] == ["runs/records/a.json"]


def whole_folder(_path, _options):
    yield FoundRun(line=1, columns={"variant": "v", "val_ppl": 2.0}, curves=(
        Curve(phase=2, metric="val_ppl", steps=[1, 2, 3], values=[4.0, None, 2.0]),))


FOLDER = Ingester(name="folder", title="a folder", read=whole_folder,
                  matches=lambda path, head: head is None and (path / "mine").is_file())


def test_the_files_of_a_folder_that_is_one_input_are_its_files(tmp_path):
    for name in ("r/mine", "r/sub/b.txt"):
        write(tmp_path, "text", name)
    (tmp_path / "r" / "link").symlink_to(tmp_path / "r" / "mine")
    asked = with_ingesters(FOLDER)
    inputs = read_inputs(tmp_path / "r", asked)
    assert [(file.name, file.size) for file in inputs.files()] == [("r/mine", 4), ("r/sub/b.txt", 4)]
    assert inputs.curves().rows() == [(inputs.records["run_id"][0], 2, step, "val_ppl", number)
                                      for step, number in ((1, 4.0), (2, None), (3, 2.0))]
    roots = [[each.root for each in sources.find([path], asked)] for path in (tmp_path / "r", tmp_path / "r" / "mine")]
    assert roots == [[tmp_path / "r"], [None]]
    (missing,) = sources.find([tmp_path / "none"], asked)
    assert missing.problem == "no such file or directory"


def test_an_ingester_that_fails_to_say_what_it_lacks_can_be_left_out(tmp_path):
    def near(_path, _head):
        raise KeyError("oops")

    failing = Ingester(name="failing", title="t", read=whole_folder, matches=lambda *_: False, near=near)
    (file,) = ingest([write(tmp_path, "Dear diary\n")], with_ingesters(failing)).files
    assert "'failing' of plugin 'other' (other 1) failed: KeyError: 'oops'; CVFP_DISABLE=other leaves" in file.problem
    assert (file.runs, file.reported, file.refused) == (0, 0, 0)


def test_curves_that_are_kept_on_disk_are_read_as_those_in_memory(monkeypatch):
    monkeypatch.setattr("cvfp_core.ingesting.spool._PART", 2)
    spool = Spool()
    for run in range(5):
        values = array("d", [run, math.inf]) if run % 2 else [float(run), None]
        spool.add(run, (Curve(phase=2, metric="loss", steps=[1, 2], values=values),))
    names = pl.DataFrame({"run": pl.Series(range(5), dtype=pl.UInt64), "run_id": list("abcde")})
    assert pl.concat(spool.frames(names)).rows() == [
        (name, 2, step, "loss", number) for run, name in enumerate("abcde") for step, number in ((1, run), (2, None))]


HEAD = "experiment,val_ppl"


@pytest.mark.parametrize(("one", "other", "runs"), [
    (f"{HEAD},train_tokens\ne,20,1e6\n", f"{HEAD},train_tokens,dropout\ne,20,1e6,0.1\n", 1),
    (f"{HEAD},train_tokens,dropout\ne,20,1e6,0.2\n", f"{HEAD},train_tokens,dropout\ne,20,1e6,0.1\n", 2),
    (f"{HEAD},width\ne,20,64\n", f"{HEAD},width\ne,20,64.0\n", 1),
    (f"{HEAD},width\ne,20,64\n", f"{HEAD},width\ne,20,65\n", 2),
    (f"{HEAD},params\ne,20,1e6\n", f"{HEAD},dropout\ne,20,0.1\n", 2),
])
def test_rows_of_two_files_are_one_run_if_they_say_the_same(tmp_path, one, other, runs):
    files = write(tmp_path, one, "a.csv"), write(tmp_path, other, "b.csv")
    made = read(*files)
    assert made.records.height == runs
    for run_id, content in made.records.select("run_id", "content").iter_rows():
        assert run_id.endswith(f"-{content[:10]}")
    if runs == 1:
        storing.into(tmp_path / "store", read(files[0]))
        (known,) = storing.into(tmp_path / "store", read(files[1])).known
        assert known.runs == 1


@pytest.mark.parametrize(("limits", "runs", "again"), [((40, 40, 40), 1, [2]), ((60, 40, 60), 2, [1])])
def test_a_run_that_a_file_holds_again_counts_once_and_under_other_settings_is_another(tmp_path, limits, runs, again):
    def found(_path, _options):
        for line, limit in enumerate(limits, 1):
            yield FoundRun(line=line, fingerprint="f", columns={
                "variant": "v", "val_ppl": 2.0, "settings": json.dumps({"phase1": {"max_iterations": limit}}),
                "settings_source": "log: phase1.max_iterations"})

    mine = Ingester(name="mine", title="t", read=found, matches=lambda _path, head: head == b"mine")
    made = ingest([write(tmp_path, "mine")], with_ingesters(mine))
    assert (made.records.height, [each.runs for each in made.duplicates]) == (runs, again)
    said = ("log.txt:2 and log.txt:1 have the same figures under phase1.max_iterations 40 and 60: two runs",)
    assert made.alike == (said if runs == 2 else ())


@pytest.mark.parametrize(("rows", "text"), [
    (1, "no"), (2, "no (and 1 more row)"), (3, "no (and 2 more rows)"), (1234, "no (and 1,233 more rows)")])
def test_rows_refused_for_one_reason_are_counted(rows, text):
    assert str(Refusal(line=1, text="no", rows=rows)) == text


def test_settings_of_a_preset_are_written_in_one_order():
    made = Rows(registry()).with_model('{"phase2": {"epochs": 3, "batch_tokens": 2}, "model": {}}', "residual")
    assert list(json.loads(made)) == ["model", "phase2"]
    assert made == json.dumps(json.loads(made), sort_keys=True)


@pytest.mark.parametrize(("text", "variants"), [
    ("variant,num_layers,context_dim,num_input_tokens,val_ppl\nmine,1,16,2,20\n,1,16,2,21\n", ["1L_16d_2tok", "mine"]),
    ("note,val_loss\na,3.0\nb,2.9\n", []),
    ("run_id,val_loss\na,3.0\nb,2.9\n", [None, None]),
])
def test_a_row_is_a_run_if_it_is_named_or_has_a_size_and_a_metric(tmp_path, text, variants):
    made = read(write(tmp_path, text, "a.csv"))
    assert sorted(made.records["variant"].to_list(), key=str) == variants


def test_a_file_without_runs_names_its_columns_and_counts_what_is_more(tmp_path):
    for count, more in ((12, "; say"), (13, " and 1 more; say")):
        made = read(write(tmp_path, ",".join("abcdefghijklm"[:count]) + "\n" + ",".join("x" * count) + "\n", "a.csv"))
        assert f"'l'{more}" in made.messages[0]
    write(tmp_path, "Dear diary\n", "only/notes.md")
    with pytest.raises(CvfpError) as raised:
        read(tmp_path / "only").require_runs([tmp_path / "only"])
    assert "(and" not in str(raised.value)


@pytest.mark.parametrize(("key", "said", "name", "kept"), [
    ("big", 2**63, "big", 2.0**63), ("big", 10**307, "big", 1e307), ("tags", ["é"], "tags", '["é"]'),
    ("a\tb\x1b", 3, "a b\ufffd", 3), (" \t ", 3, "column", 3), ("wide", [1, 2.5], "wide", "[1, 2.5]"),
])
def test_what_nobody_declared_is_kept_as_it_is(tmp_path, key, said, name, kept):
    made = read(write(tmp_path, json.dumps({"params": 1e6, "val_loss": 3.0, key: said}) + "\n", "a.jsonl"))
    assert made.records[name].to_list() == [kept]


def test_a_number_that_no_float_holds_costs_its_row_and_whole_numbers_beside_others_are_exact(tmp_path):
    rows = [{"params": 1e6, "val_loss": 3.0, "seed": 2**53 + 1}, {"params": 2e6, "val_loss": 2.5, "seed": 1.0},
            {"params": 3e6, "val_loss": 2.0, "seed": 1, "big": 9 * 10**308}]
    made = read(write(tmp_path, "".join(json.dumps(row) + "\n" for row in rows), "a.jsonl"))
    assert sorted(made.records["seed"].to_list()) == [1, 2**53 + 1]
    assert [text.partition(", found")[0] for text in made.messages] == [
        "a.jsonl:3: 'big' is no value that can be kept"]


def test_the_texts_of_a_frame_are_read_as_cells_of_a_table():
    table = pl.DataFrame({"params": ["7M", None, "8M"], "val_loss": ["2.5", "3.5", None], "D": [1e9, 2e9, 3e9]})
    made = read(tables=[table])
    assert sorted(made.records.select("train_tokens", "params", "val_loss").rows()) == [
        (1e9, 7e6, 2.5), (2e9, None, 3.5), (3e9, 8e6, None)]


@pytest.mark.parametrize(("text", "runs", "said"), [
    ("seed,step,val_loss\n1,0,3.0\n1,1,2.9\n2,0,3.1\n2,1,2.8\n", [("m-1", 2.9), ("m-2", 2.8)], "2 runs, told apart by"),
    ("step,val_loss\n0,3.0\n1,2.9\n", [("m", 2.9)], "one run"),
    ("step,val_loss\n1,3.0\n2,2.9\n3,2.8\n2,2.7\n", [("m", 2.8)], "steps go back to 2"),
    ("step,split,loss\n1,train,3.0\n1,test,3.1\n2,train,2.0\n2,test,2.1\n", [("m", 2.1)], "one run"),
])
def test_rows_are_steps_of_runs_where_a_column_counts_them(tmp_path, text, runs, said):
    made = read(write(tmp_path, text, "m/metrics.csv"))
    assert made.records.sort("run_id").select("run_id", "val_loss").rows() == runs
    assert any(said in note for note in made.notes)
    assert any("go back" in note for note in made.notes) is ("go back" in said)


def test_rows_of_which_none_goes_on_with_another_are_runs_and_two_figures_of_one_step_are_refused(tmp_path):
    made = read(write(tmp_path, "run,step,val_loss\na,100,3.0\nb,200,2.9\n", "a.csv"))
    assert (made.records["val_loss"].to_list(), made.curves.height) == ([3.0, 2.9], 0)
    (file,) = read(write(tmp_path, "step,val_loss\n1,3.0\n1,2.9\n2,2.8\n", "b.csv")).failed
    assert "the same steps several times; name it with --map run_id=COLUMN" in file.problem


@pytest.mark.parametrize(("split", "metric"), [
    ("train", "train/loss"), ("Training", "train/loss"), ("val", "val/loss"), ("TEST", "test/loss"), ("hard", "loss")])
def test_a_figure_is_of_the_data_that_a_column_names(tmp_path, split, metric):
    made = read(write(tmp_path, f"step,split,loss\n1,{split},3.0\n2,{split},2.0\n", "m/metrics.csv"))
    assert set(made.curves["metric"]) == {metric}


@pytest.mark.parametrize(("names", "quantities"), [
    (("val_loss_step", "val_loss_epoch"), {"val_loss_epoch": "val_loss"}),
    (("val_loss", "eval_loss", "test_loss"), {"eval_loss": "val_loss"}),
    (("train_loss_step", "loss", "train_loss"), {"train_loss": "train_loss"}),
])
def test_of_several_names_for_a_quantity_the_surest_is_taken(names, quantities):
    for order in (names, names[::-1]):
        assert tags.quantities(order) == quantities


def test_a_count_of_zero_is_no_count_and_tokens_follow_by_the_rule_that_is_said():
    assert tags.columns({"tokens": 0, "total_flos": 0}) == ({}, {})
    assert tags.columns({"tokens": 1}) == ({"tokens_seen": 1}, {"tokens_seen": "tokens"})
    for epochs, tokens, rule in ((1, 10, "tokens_seen"), (0.5, 10, "tokens_seen"), (2, 5, "tokens_seen / epochs")):
        made = tags.with_train_tokens({"tokens_seen": 10, "epochs": epochs})
        assert (made["train_tokens"], made["derived"]) == (tokens, f"train_tokens = {rule}")
