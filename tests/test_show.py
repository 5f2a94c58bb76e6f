"""`cvfp show`: runs chosen, in an order, averaged, summed up, and as files of other programs."""

import json
import re
import statistics

import polars as pl
import pytest

from cvfp_core.schema import store
from cvfp_core.schema.records import Record, RunResult
from made_grids import in_process

SEEDS = (1, 2, 3)


def written(folder, variants=2, sizes=(1000, 2000, 4000)):
    """A store of runs of three seeds; their perplexities differ by the seed alone, and the failed one has none."""
    into = store.create(folder)
    for variant in range(variants):
        for size in sizes:
            for seed in SEEDS:
                failed = (variant, size, seed) == (0, 1000, 3)
                store.write(into, RunResult(record=Record(
                    run_id=f"{variant}-{size}-{seed}", experiment="e", variant=f"1L_{16 + variant}d_1tok", phases=2,
                    family="residual", num_layers=1, context_dim=16 + variant, num_input_tokens=1, seed=seed,
                    num_samples=size // 100, train_tokens=size, unigram_ppl=1.0 if variant else 1e9, epochs=seed,
                    status="failed" if failed else "ok", reason="made" if failed else None,
                    val_ppl=None if failed else 100.0 * size**-0.3 + 0.1 * seed)))
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return written(tmp_path_factory.mktemp("runs") / "my runs")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return written(tmp_path_factory.mktemp("many") / "runs", variants=52, sizes=(1000, 2000))


def show(folder, *words, code=0):
    return in_process("show", folder, *words, folder=folder, code=code)


def rows(text):
    return [line.split() for line in text.split("\n\n")[0].splitlines()]


def test_runs_are_one_table_of_the_columns_and_in_the_order_asked_for(runs):
    head, *body = rows(show(runs, "--columns", "variant,seed,val_ppl", "--sort", "variant,-val_ppl").stdout)
    assert head == ["variant", "seed", "val_ppl"]
    assert [row[0] for row in body[:17]] == ["1L_16d_1tok"] * 9 + ["1L_17d_1tok"] * 8
    assert body[8] == ["1L_16d_1tok", "3", "-"]  # it failed: not measured stands last
    shown = [float(row[2].rstrip("‡")) for row in body[:8]]
    assert shown == sorted(shown, reverse=True)
    assert all(row[2].endswith("‡") for row in body[9:18])


def test_the_order_alone_shows_its_columns_first(runs):
    assert rows(show(runs, "--sort", "-seed").stdout)[0][:2] == ["series", "seed"]


def test_means_are_over_what_is_named_and_over_finished_runs_that_differ_in_nothing_else(runs):
    (first, *_) = json.loads(show(runs, "--mean-over", "seed", "--json").stdout)["records"]
    values = [100.0 * 1000**-0.3 + 0.1 * seed for seed in (1, 2)]
    assert first["num_runs"] == 2
    assert first["val_ppl"] == pytest.approx(statistics.mean(values))
    assert first["val_ppl_sd"] == pytest.approx(statistics.stdev(values))
    assert first["epochs"] == 1.5  # training decides it, so it tells no runs apart
    assert first["seed"] is None
    text = show(runs, "--mean-over", "seed").stdout
    assert re.search(r"^ +10 +1,000 +2 .* 12\.\d ± 0\.1 ", text, re.MULTILINE)
    assert "means of runs, ± their standard deviation; laws are fitted to the runs themselves" in text
    assert re.search(r"^1L_16d_1tok +8 ", text, re.MULTILINE)
    refused = show(runs, "--mean-over", "train_tokens", code=2).stderr
    assert refused.startswith("cvfp: --mean-over train_tokens: no two of 17 finished runs are alike but for it; ")


def test_above_fifty_runs_a_row_a_series_is_printed_unless_all_are_asked_for(many):
    text = show(many).stdout
    assert len(re.findall(r"^1L_\d+d_1tok ", text, re.MULTILINE)) == 50
    assert "and 2 more series\n312 runs in 52 series; --all prints every run" in text
    assert "1 failed" in text
    whole = show(many, "--all").stdout
    assert len(re.findall(r"^ +\d0 +\d,000 ", whole, re.MULTILINE)) == 312
    listed = show(many, "--columns", "seed").stdout
    assert "and 262 more runs; --all prints them" in listed


@pytest.mark.parametrize("ending", ["csv", "parquet", "json"])
def test_an_exported_file_holds_the_runs_to_the_last_bit(many, tmp_path, ending):
    out = tmp_path / "new" / f"runs.{ending}"
    assert show(many, "-o", out).stderr == f"cvfp: {out} is written\n"
    read = {"csv": pl.read_csv, "parquet": pl.read_parquet,
            "json": lambda path: pl.DataFrame(json.loads(path.read_text())["records"], infer_schema_length=None)}
    names = ["run_id", "seed", "train_tokens", "val_ppl"]
    kept = store.read(many).select(names)
    assert read[ending](out).select(names).rows() == kept.rows()
    chosen = tmp_path / f"chosen.{ending}"
    show(many, "-o", chosen, "--columns", "run_id,val_ppl")
    assert read[ending](chosen).columns == ["run_id", "val_ppl"]


def test_tables_go_to_stdout_as_markdown_latex_and_csv(runs):
    asked = ("--columns", "variant,val_ppl", "--where", "seed == 1 and variant == '1L_17d_1tok'")
    assert show(runs, "--csv", *asked).stdout.splitlines()[0] == "variant,val_ppl"
    text = show(runs, "--markdown", *asked).stdout
    assert text.splitlines()[:2] == ["| variant | val_ppl |", "|---|--:|"]
    latex = show(runs, "--latex", *asked).stdout
    assert r"\begin{longtable}{lr}" in latex
    assert r"1L\_17d\_1tok & 12.69\textdaggerdbl{} \\" in latex
    assert r"\documentclass" not in latex


WRONG = {
    ("--columns", "val_pl"): r"records have no column 'val_pl'; did you mean 'val_ppl'\?; there are: val_ppl, ",
    ("--sort", "-"): r"--sort takes columns separated by commas, such as seed,val_ppl, not '-'",
    ("--csv", "--json"): r"--csv and --json: give one of them",
    ("-o", "runs.txt"): r"-o runs\.txt: no form has this ending; there are: \.csv, \.parquet, \.json, \.tex, \.md",
    ("--csv", "-o", "runs.md"): r"--csv and -o runs\.md: give a file ending in \.csv",
    ("--where", "seed = 1"): r"--where \"seed = 1\": is not understood; equality is written ==",
}


@pytest.mark.parametrize("words", WRONG)
def test_what_cannot_be_shown_is_said_in_one_line(runs, words):
    (line,) = show(runs, *words, code=2).stderr.splitlines()
    assert re.match(f"cvfp: {WRONG[words]}", line), line


def test_the_next_command_is_one_line_that_a_shell_takes(runs):
    where = "seed == 1 and train_tokens > 1e3 and train_tokens < 1e9 and val_ppl > 1 and num_samples > 1 and epochs < 9"
    last = show(runs, "--where", where).stdout.splitlines()[-1]
    assert last == f"next: cvfp report '{runs}' --where '{where}' -o report.html --embed"
