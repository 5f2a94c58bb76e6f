"""The commands from a grid to a report: what is printed where, exit codes, going on with what is there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import made_grids
from cvfp_core.cli.app import app
from cvfp_core.ingesting import reading
from cvfp_core.schema import store
from cvfp_core.schema.records import Record, RunResult
from made_grids import in_process as invoke


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a corpus and a finished grid of two variants and three sizes; it is only looked at."""
    folder = tmp_path_factory.mktemp("trained")
    made_grids.corpus(folder)
    folder.joinpath("said.txt").write_text(invoke(
        "run", *made_grids.options(folder, variants=("1L_16d_1tok", "2L_16d_1tok")), folder=folder
    ).stdout)
    return folder


@pytest.fixture
def place(tmp_path):
    made_grids.corpus(tmp_path)
    return tmp_path


def strict_json(text):
    """The text as JSON proper, without NaN and infinity."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_a_run_prints_a_table_a_variant_the_exponents_and_the_next_command(trained):
    said = (trained / "said.txt").read_text()
    for variant in ("1L_16d_1tok", "2L_16d_1tok"):
        assert len(re.findall(rf"^{variant}\s", said, re.MULTILINE)) == 2  # its table, its exponent
    sizes = re.findall(r"^ +(4|8|16) +[\d,]+ +4\+ +[\d.]+% +[\d.]+% +[\d.,]+ +[\d.,]+†‡? +[\d.]+% ", said, re.MULTILINE)
    assert sizes == ["4", "8", "16"] * 2
    assert "stopped at the iteration limit before converging: a lower bound" in said
    assert "† cut short: the best epoch is the last one allowed" in said
    assert f"next: cvfp report {trained / 'runs' / 'default'} -o report.html --embed" in " ".join(said.split())


def test_show_prints_what_the_run_printed(trained):
    shown = invoke("show", trained / "runs" / "default", folder=trained)
    assert shown.stdout == (trained / "said.txt").read_text()
    assert shown.stderr == ""


def test_show_as_json_is_records_and_fits(trained):
    found = strict_json(invoke("show", trained / "runs" / "default", "--json", folder=trained).stdout)
    assert [(row["variant"], row["num_samples"]) for row in found["records"]] == [
        (variant, size) for variant in ("1L_16d_1tok", "2L_16d_1tok") for size in (4, 8, 16)
    ]
    for row in found["records"]:
        assert row["status"] == "ok"
        assert row["phase1_censored"] is True
        assert row["val_ppl"] > 1
    assert [fit["n"] for fit in found["fits"]] == [3, 3]


def test_the_manifest_says_what_was_run_by_what(trained):
    (file,) = (trained / "runs" / "default" / "manifests").glob("*.json")
    manifest = strict_json(file.read_text())
    assert manifest["run_ids"] == [row["run_id"] for row in store.read(trained / "runs").sort("num_samples").to_dicts()]
    assert manifest["corpus"]["hash"] == store.read(trained / "runs")["corpus_hash"][0]
    assert {"cvfp", "torch", "python"} <= set(manifest["versions"])
    assert manifest["config"]["samples"] == [4, 8, 16]


def test_a_report_goes_to_stdout_or_a_file_and_is_the_same(trained, tmp_path):
    first = invoke("report", trained / "runs" / "default", folder=trained)
    assert first.stdout.startswith("# Scaling summary: default\n")
    assert first.stderr == "cvfp: template summary suits these runs (--template NAME for another, see --list)\n"
    done = invoke("report", trained / "runs" / "default", "-o", tmp_path / "report.md", "--no-figures",
                  folder=trained)
    assert done.stdout == ""
    assert (tmp_path / "report.md").read_text(encoding="utf-8") == first.stdout


def test_the_tables_of_a_report_are_whole(trained):
    lines = invoke("report", trained / "runs" / "default", folder=trained).stdout.splitlines()
    tables = 0
    for rule in [i for i, line in enumerate(lines) if re.fullmatch(r"\|(:?-+:?\|)+", line)]:
        rows = lines[rule - 1:rule + 1]
        while rule + 1 < len(lines) and lines[rule + 1].startswith("|"):
            rule += 1
            rows.append(lines[rule])
        assert len(rows) > 2
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {len(re.findall(r"\|", rows[0]))}
        tables += 1
    assert tables == 5


def test_a_report_by_a_template_of_ones_own(trained, tmp_path):
    mine = tmp_path / "mine.j2"
    mine.write_text('{% for s in series %}{{ s.variant }}: {{ s.runs | length }} runs\n{% endfor %}', encoding="utf-8")
    done = invoke("report", trained / "runs" / "default", "--template", mine, folder=trained)
    assert done.stdout == "1L_16d_1tok: 3 runs\n2L_16d_1tok: 3 runs\n"


TEMPLATES = {
    "one\n{{ experimnts }}":
        r"line 2: 'experimnts' is undefined; did you mean 'experiments'\?; the names are: .*series",
    "one\n\n{% for s in series %}{{ s.fit.alpha }}{% endfor %}": r"line 3: .*has no attribute 'alpha'",
    "one\n{% for %}": r"line 2: Expected",
    "{{ series | sorted }}": r"line 1: No filter named 'sorted'",
    "one\n{{ 1 / 0 }}": r"line 2: ZeroDivisionError: division by zero",
    "one\n{{ num_records + 'x' }}": r"line 2: TypeError: unsupported operand",
    "{{ ''.__class__.__mro__ }}": r"line 1: access to attribute '__class__' of 'str' object is unsafe",
    "{{ series.append(1) }}": r"line 1: access to attribute 'append' of 'list' object is unsafe",
    "{% include 'nowhere.j2' %}": r"line 1: .*nowhere\.j2",
}


@pytest.mark.parametrize("content", TEMPLATES)
def test_a_template_that_fails_is_named_with_its_line(trained, tmp_path, content):
    mine = tmp_path / "mine.j2"
    mine.write_text(content, encoding="utf-8")
    done = invoke("report", trained / "runs" / "default", "--template", mine, folder=trained, code=1)
    (line,) = done.stderr.splitlines()
    assert re.match(rf"cvfp: {re.escape(str(mine))}: {TEMPLATES[content]}", line), line
    assert done.stdout == ""


def test_what_a_report_cannot_be_made_from_or_written_to_is_said(trained, tmp_path):
    def line(*arguments, code):
        (said,) = invoke("report", *arguments, folder=trained, code=code).stderr.splitlines()
        return said

    runs = trained / "runs" / "default"
    (tmp_path / "latin.j2").write_bytes(b"caf\xe9")
    assert line(runs, "--template", "sumary", code=2).startswith(
        "cvfp: unknown template 'sumary'; did you mean 'summary'?; installed: "
    )
    assert line(runs, "--template", "nowhere.j2", code=2) == "cvfp: template file 'nowhere.j2' does not exist"
    assert line(runs, "--template", tmp_path / "latin.j2", code=1).endswith("not UTF-8: byte 0xe9 at offset 3")
    assert line(tmp_path, code=1).startswith(f"cvfp: no runs in '{tmp_path}': ")
    assert str(tmp_path / "nowhere") in line(tmp_path / "nowhere", code=1)
    assert line(code=2).startswith("cvfp: nothing to report on: give a folder")


def test_a_report_that_cannot_be_written_is_refused_before_any_work(trained, tmp_path, monkeypatch):
    def refused(out, code=2):
        return invoke("report", trained / "runs" / "default", "-o", out, folder=trained, code=code).stderr

    file = tmp_path / "file"
    file.write_text("")
    closed = tmp_path / "closed"
    closed.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(reading, "read", lambda *_: pytest.fail("the work was begun"))
        assert refused(tmp_path) == f"cvfp: cannot write '{tmp_path}': it is a folder; give a file, such as report.md\n"
        assert refused(file / "r.md") == f"cvfp: cannot write '{file / 'r.md'}': '{file}' is no folder\n"
        assert refused(tmp_path / ("r" * 300)).endswith("': File name too long\n")
        patch.setattr(os, "access", lambda path, mode: not (mode & os.W_OK and path in (closed, file)))
        assert refused(file) == f"cvfp: cannot write '{file}': permission denied\n"
        below = closed / "new" / "r.md"
        assert refused(below) == f"cvfp: cannot write '{below}': the folder '{closed}' cannot be written to\n"
        missing = invoke("report", trained, "-o", tmp_path / "no.md", "--check", folder=trained, code=1).stderr
        assert missing == f"cvfp: cannot read '{tmp_path / 'no.md'}': No such file or directory\n"
    assert not (closed / "new").exists()


def test_the_folder_of_a_report_is_made(trained, tmp_path):
    out = tmp_path / "new" / "folder" / "report.md"
    invoke("report", trained / "runs" / "default", "-o", out, folder=trained)
    assert out.read_text(encoding="utf-8").startswith("# Scaling summary: default\n")


def test_templates_are_listed_with_their_plugins(trained):
    listed = invoke("report", "--list", folder=trained).stdout
    assert re.search(r"^summary +one page.*\n +plugin templates; en, ja", listed, re.MULTILINE)


def test_text_from_records_stays_inert_in_a_report(tmp_path):
    folder = store.create(tmp_path / "made")
    odd = "a|b\n<script>alert(1)</script>"
    for tokens in (10, 20):
        store.write(folder, RunResult(record=Record(
            run_id=f"r{tokens}", experiment=odd, variant="1L|x", train_tokens=tokens, val_ppl=5.0, source=odd,
        )))
    said = invoke("report", folder, folder=tmp_path).stdout
    assert "<script>" not in said
    assert r"1L\|x" in said
    assert "a|b" not in said


def test_events_are_json_lines_and_nothing_else_stands_on_stdout(place):
    done = made_grids.cvfp("run", *made_grids.options(place, samples="4,8"), "--json", folder=place)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    events = [strict_json(line) for line in done.stdout.splitlines()]
    cell = ["run_started", *["phase1_iteration"] * 3, "phase_finished", *["phase2_epoch"] * 2, "phase_finished",
            "run_finished"]
    assert [each["event"] for each in events] == cell * 2
    finished = [each for each in events if each["event"] == "run_finished"]
    rows = [json.loads(path.read_text()) for path in sorted((place / "runs" / "default" / "records").iterdir())]
    made = sorted(({name: each[name] for name in rows[0]} for each in finished), key=lambda each: each["run_id"])
    assert made == sorted(rows, key=lambda row: row["run_id"])


def test_without_a_terminal_progress_is_one_plain_line_a_phase_on_stderr(place):
    done = invoke("run", *made_grids.options(place, samples="4,8"), folder=place)
    lines = done.stderr.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        f"[{n}/2] 1L_16d_1tok, {size} samples" for n, size in ((1, 4), (1, 4), (2, 8), (2, 8))
    ]
    assert "\x1b" not in done.stderr + done.stdout


def test_the_plan_trains_nothing_and_writes_nothing(place):
    done = invoke("run", *made_grids.options(place), "--dry-run", folder=place)
    assert re.search(r"^1L_16d_1tok +16 +[\d,]+ +560 \+ 560 +\d\.\de\+\d\d +0\.\d GiB$", done.stdout, re.MULTILINE)
    assert "3 cells on cpu" in done.stdout
    assert re.search(r"about \d+ s in one process, where Phase 1 takes 15 iterations and Phase 2 11 epochs as the "
                     r"default grid does on average; \d+ s at most, \d+ s of them for 1L_16d_1tok with 16 samples; "
                     r"measured on 1L_16d_1tok$", " ".join(done.stdout.split()))
    rows = strict_json(invoke("run", *made_grids.options(place), "--dry-run", "--json", folder=place).stdout)
    assert [row["num_samples"] for row in rows] == [4, 8, 16]
    assert rows[0]["flops"] < rows[1]["flops"] < rows[2]["flops"]
    assert not (place / "runs").exists()


def test_finished_cells_are_skipped_and_only_new_sizes_are_run(place):
    first = invoke("run", *made_grids.options(place, samples="4,8"), folder=place)
    assert "finished before" not in first.stderr
    kept = store.read(place / "runs" / "default")

    again = invoke("run", *made_grids.options(place, samples="4,8"), folder=place)
    assert again.stderr == "2 of 2 cells were finished before\n"
    assert again.stdout == first.stdout
    assert store.read(place / "runs" / "default").equals(kept)
    plan = ("run", *made_grids.options(place, samples="4,8,12"), "--dry-run", "--no-time")
    assert [row["finished"] for row in strict_json(invoke(*plan, "--json", folder=place).stdout)] == [True, True, False]
    planned = invoke(*plan, folder=place).stdout.splitlines()
    assert [line.endswith("finished") for line in planned[1:4]] == [True, True, False]
    assert planned[4].startswith("3 cells on cpu, 2 of them finished, validation")
    assert " FLOPs at most for the rest," in planned[4]

    more = invoke("run", *made_grids.options(place, samples="4,8,12"), folder=place)
    assert more.stderr.startswith("2 of 3 cells were finished before\n[1/1] 1L_16d_1tok, 12 samples: phase 1: ")
    assert store.read(place / "runs" / "default").head(2).equals(kept)

    events = invoke("run", *made_grids.options(place, samples="4,8,12"), "--json", folder=place).stdout.splitlines()
    assert [strict_json(line)["event"] for line in events] == ["run_skipped"] * 3


def test_runs_are_shown_without_the_plugin_of_laws_and_a_law_says_what_is_left_out(place, monkeypatch):
    invoke("run", *made_grids.options(place, samples="4"), folder=place)
    folder = str(place / "runs" / "default")
    assert "alpha of PPL" in invoke("show", folder, folder=place).stdout
    monkeypatch.setenv("CVFP_DISABLE", "laws")
    shown = invoke("show", folder, folder=place).stdout
    assert "1L_16d_1tok" in shown
    assert "alpha" not in shown
    refused = invoke("fit", folder, folder=place, code=2)
    assert "unknown law 'power-law'; installed: none; plugins left out: laws by CVFP_DISABLE" in refused.stderr


def test_other_settings_do_not_enter_an_experiment(place):
    invoke("run", *made_grids.options(place, samples="4"), folder=place)
    kept = store.read(place / "runs" / "default")
    other = [*made_grids.options(place, samples="4"), "--set", "phase2.epochs=1"]
    refused = invoke("run", *other, folder=place, code=2)
    assert refused.stderr == (
        "cvfp: experiment 'default' has runs of 1L_16d_1tok made otherwise: phase2.epochs is 2 there and 1 here; "
        "choose another label with --name\n"
    )
    assert store.read(place / "runs" / "default").equals(kept)
    elsewhere = [*made_grids.options(place, variants=("2L_16d_1tok",), samples="4"), "--set", "corpus.vocab_size=290"]
    refused = invoke("run", *elsewhere, folder=place, code=2)
    assert refused.stderr == (
        "cvfp: experiment 'default' has runs on another corpus, or on the same one read otherwise (text:corpus.txt, "
        "vocabulary 300); choose another label with --name\n"
    )
    assert store.read(place / "runs" / "default").equals(kept)
    invoke("run", *other, "--name", "short", folder=place)
    assert store.read(place / "runs")["epochs"].to_list() == [2, 1]


def test_a_diverged_cell_is_a_record_with_a_reason_and_exit_code_3(place):
    hot = ("--set", "phase2.learning_rate=1e30", "--set", "phase1.max_iterations=3", "--set", "phase2.epochs=3")
    done = invoke("run", *made_grids.options(place, samples="4,8", short=hot), folder=place, code=3)
    found = store.read(place / "runs" / "default")
    assert found["status"].to_list() == ["diverged"] * 2
    assert "diverged: " in done.stderr
    assert re.search(r"^ +8 .* diverged ", done.stdout, re.MULTILINE)
    assert f"1L_16d_1tok n=4: diverged: {found['reason'][0]}" in done.stdout
    again = invoke("run", *made_grids.options(place, samples="4,8", short=hot), folder=place, code=3)
    assert again.stderr == "2 of 2 cells were finished before\n"
    assert "diverged" in invoke("report", place / "runs" / "default", folder=place).stdout


def test_a_run_file_with_a_matrix_seeds_and_sizes_by_rule_runs(place):
    (place / "run.toml").write_text(f"""
name = "a grid"
samples = {{initial = 4, multiplier = 2, window = 2, windows = 1}}
seeds = [1, 2]
[matrix]
num_layers = [1, 2]
context_dim = [8]
num_input_tokens = [1]
[corpus]
name = "text"
path = "{(place / 'corpus.txt').as_posix()}"
vocab_size = 300
embed_dim = 16
[phase1]
max_iterations = 3
[phase2]
epochs = 1
""")
    done = invoke("run", place / "run.toml", "--out", place / "runs", "--jobs", 1, folder=place)
    rows = store.read(place / "runs" / "a grid").select("variant", "num_samples", "seed").rows()
    assert rows == [(variant, size, seed) for variant in ("1L_8d_1tok", "2L_8d_1tok") for size in (4, 8)
                    for seed in (1, 2)]
    assert "4 samples, seed 2: phase 1: " in done.stderr


def test_the_embedded_corpus_needs_no_option(tmp_path):
    options = ("--variant", "1L_16d_1tok", "--samples", "2,3,4", "--set", "corpus.vocab_size=300", "--jobs", "1",
               "--set", "corpus.embed_dim=16", "--out", tmp_path / "runs", *made_grids.SHORT)
    invoke("run", *options, folder=tmp_path)
    found = store.read(tmp_path / "runs" / "default")
    assert found["corpus"].unique().to_list() == ["embedded"]
    assert found["val_ppl"].to_list() == sorted(found["val_ppl"], reverse=True)


def test_a_template_given_to_run_is_answered_with_the_two_commands(tmp_path):
    done = invoke("run", "--template", "summary", "--name", "mine", folder=tmp_path, code=2)
    assert done.stderr == (
        "cvfp: `cvfp run` makes records and `cvfp report` writes them up: run first, then cvfp report runs/mine "
        "--template summary\n"
    )


def test_the_version_is_printed():
    assert re.fullmatch(r"cvfp \d+\.\d+\.\d+\n", CliRunner().invoke(app, ["--version"]).stdout)


WRONG = {
    ("run", "--varient", "x"): "no such option '--varient'; did you mean '--variant'?; see `cvfp run --help`",
    ("run", "--nosuch"): "no such option '--nosuch'; see `cvfp run --help`",
    ("report", "x", "-q"): "no such option '-q'; see `cvfp report --help`",
    ("shwo", "x"): "no such command 'shwo'; did you mean 'show'?; see `cvfp --help`",
    ("--versoin",): "no such option '--versoin'; did you mean '--version'?; see `cvfp --help`",
    ("predict", "x"): "no point to predict at; give --at NAME=VALUE, such as --at train_tokens=10x",
    ("fit",): "missing argument 'PATH...'; see `cvfp fit --help`",
    ("laws", "kaplan", "more"): r"got unexpected extra argument.* \(more\); see `cvfp laws --help`",
    ("run", "--corpus"): "option '--corpus' requires an argument.*",
    ("run", "--seed", "1,abc"): "--seed takes whole numbers separated by commas, not '1,abc'; such as --seed 4,16,64",
    ("run", "--jobs", "-1"): "invalid value for '--jobs': .*-1.*; see `cvfp run --help`",
}


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_a_command_typed_wrongly_ends_in_one_line_and_exit_code_2(arguments):
    done = CliRunner().invoke(app, arguments, prog_name="cvfp")
    assert done.exit_code == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert re.fullmatch("cvfp: " + re.sub(r"\?(?=;)", r"\\?", WRONG[arguments]), line), line


def test_nothing_typed_prints_the_help():
    done = CliRunner().invoke(app, [], prog_name="cvfp")
    assert done.exit_code == 2
    assert len(re.findall("Usage: cvfp ", done.output)) == 1
    assert "cvfp: " not in done.output


def options():
    """(command, option) -> its declaration, for every option of every command."""
    commands = typer.main.get_command(app).commands
    return {(name, parameter.opts[0]): parameter for name, command in commands.items() for parameter in command.params}


SHARED = {
    "--x": ("fit", "predict", "plot", "report", "show", "compare", "plan"),
    "--y": ("fit", "predict", "plot", "report", "show", "compare", "optimum", "plan", "forecast"),
    "--by": ("fit", "predict", "plot", "report", "show", "compare", "optimum", "plan"),
    "--at": ("predict", "plot", "report", "compare"),
    "--where": ("fit", "predict", "plot", "report", "show", "check", "compare", "optimum", "plan",
                "forecast"),
    "--map": ("fit", "predict", "plot", "report", "show", "check", "ingest", "compare", "optimum", "plan",
              "forecast"),
    "--law": ("fit", "predict", "plot", "report", "compare", "optimum", "plan"),
}
OF_ARMS = {("compare", "--by"), ("compare", "--at")}
"""Options that read otherwise there: what tells arms apart, sizes of the one input."""


@pytest.mark.parametrize("option", SHARED)
def test_an_option_is_there_and_reads_the_same_in_every_command(option):
    declared = {command: each for (command, name), each in options().items() if name == option}
    assert set(declared) == set(SHARED[option])
    declared = {command: each for command, each in declared.items() if (command, option) not in OF_ARMS}
    if option != "--law":  # several to fit or to average, one to predict
        assert len({(each.help, each.metavar, each.multiple) for each in declared.values()}) == 1


@pytest.mark.parametrize(("typed", "offered"), [
    ("fit x --law satur", ["saturating"]), ("run --settings small-", ["small-transformer"]), ("predic", ["predict"]),
    ("fit {runs} --x val_p", ["val_ppl"]), ("fit nowhere.csv --x val_p", []), ("fit --x val_p", []),
])
def test_a_shell_completes_names_of_items_and_columns(tmp_path, typed, offered):
    (tmp_path / "runs.csv").write_text("train_tokens,val_ppl\n1000,50\n2000,40\n")
    words = f"cvfp {typed.format(runs=tmp_path / 'runs.csv')}"
    asked = {"_CVFP_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    result = CliRunner().invoke(app, [], prog_name="cvfp", env=asked)
    assert result.stdout.split() == offered
    assert result.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("words", [("settings",), ("settings", "--json"), ("settings", "learning_rate")])
def test_a_full_disk_is_said_in_one_line(words):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", "from cvfp_core.cli import main; main()", *words], stdout=full,
                              stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == ("cvfp: output cannot be written: No space left on device; make room, or write "
                           "elsewhere\n")


@pytest.mark.parametrize("command", ["show", "fit", "predict --tokens 9", "check", "report", "report --template fits"])
def test_a_grid_none_of_whose_runs_has_finished_is_said_with_the_way_on(command, tmp_path):
    folder = store.create(tmp_path / "store")
    store.write_manifest(folder, {"run_ids": ["a", "b"], "command": ["cvfp", "run", "--name", "store"]})
    name, *options = command.split()
    done = CliRunner().invoke(app, [name, str(folder), *options])
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == (
        f"cvfp: {folder}: no run has finished yet, 0 of 2 cells; go on with: cvfp run --name store")
    assert done.stdout == ""


def test_help_has_a_short_flag():
    assert CliRunner().invoke(app, ["fit", "-h"]).stdout == CliRunner().invoke(app, ["fit", "--help"]).stdout
