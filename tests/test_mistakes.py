"""Mistakes that people make, each of which ends in one line: what is wrong, what there is, what to type."""

import math
import re

import pytest
import typer
from typer.testing import CliRunner

import cvfp_core as cvfp
import made_grids
from cvfp_core.cli import screen
from cvfp_core.cli.app import app
from cvfp_core.schema import store
from cvfp_core.schema.records import Record, RunResult

TABLE = "experiment,variant,params,train_tokens,val_ppl,seed\n" + "".join(
    f"a,b,{params},{tokens},{1000 * tokens**-0.3 + params**-0.2:.3f},1\n"
    for params in (10_000, 100_000) for tokens in (1000, 2000, 4000, 8000, 16_000))
FILES = {
    "runs.csv": TABLE,
    "réseau 1/läufe 日本.csv": TABLE,
    "empty.csv": "",
    "head.csv": "train_tokens,val_ppl\n",
    "headless.csv": "run-1,12M,0.5B,4.888,1337\nrun-2,12M,1B,4.536,1337\n",
    "dirty.csv": "train_tokens,val_loss\n1000,3.5\n2000,3,4x\n4000,-3.2\n".replace("3,4x", '"3,4x"'),
    "words.csv": "hello world\nnothing here\n",
    "bytes.csv": bytes(range(256)) * 10,
    "one.txt": "a b c d e f g",
    "notes/a.md": "# one\n\ntwo\n",
    "notes/b.md": "# three\n\nfour\n",
    "hollow/.keep": "",
    "mixed/a.txt": "a b c d e f g",
    "mixed/b.md": "# one",
    "mixed/c.md": "# two",
    "bad.toml": "name = = 3\n",
    "latin.toml": b"name = '\xe9'\n",
    "digits.toml": f"samples = [{'9' * 5000}]\n",
    "hex.toml": f"samples = [0x{'f' * 5000}]\n",
    "brackets.toml": "samples = " + "[" * 100_000,
    "misspelt.toml": "variants = ['1L_8d_1tok']\nsamples = [4]\n[phase1]\nlearning_rat = 1\n",
    "unsectioned.toml": "variants = ['1L_8d_1tok']\nsamples = [4]\nlearning_rate = 1\n",
    "word.toml": "variants = '1L_8d_1tok'\nsamples = [4]\n",
    "commas.toml": "variants = ['1L_8d_1tok']\nsamples = '4, 8'\n",
    "quotes.toml": "variants = ['1L_8d_1tok']\nseeds = [1]\nsamples = ['4,8']\n",
    "cells.toml": "[phase2]\nepochs = 3\n[[cells]]\nvariant = '1L_8d_1tok'\nsampels = 4\n",
    "billion.toml": f"samples = [1]\n[matrix]\nnum_layers = {[*range(1, 1001)]}\ncontext_dim = {[*range(1, 1001)]}\n"
                    f"num_input_tokens = {[*range(1, 1001)]}\n",
}
PLAN = ("run", "--dry-run", "--no-time")
MISTAKES = [
    # (what was typed, parts of the line that answers, in their order)
    (("rnu",), "no such command 'rnu'; did you mean 'run'?; see `cvfp --help`"),
    (("run", "--smaples", "4"), "no such option '--smaples'; did you mean '--samples'?; see `cvfp run --help`"),
    (("run", "a.toml", "b.toml"), "unexpected extra argument(s) (b.toml); see `cvfp run --help`"),
    (("run", "--jobs", "-1"), "'--jobs'", "greater than or equal to 0, found '-1'"),
    (("run", "--jobs", "two"), "'--jobs'", "a valid integer", "found 'two'"),
    (("run", "--no-time"), "--no-time says what --dry-run leaves out; give --dry-run too"),
    (("run", "--template", "summary"), "run first, then cvfp report runs/default --template summary"),
    ((*PLAN, "--samples", "4,,8"), "--samples takes whole numbers separated by commas, not '4,,8'; such as --samples"),
    ((*PLAN, "--samples", "-4"), "samples (entry 1) must be at least 1, not -4"),
    ((*PLAN, "--samples", "9" * 5000), "--samples takes whole numbers separated by commas, not '999"),
    ((*PLAN, "--samples", "4", "--set", "samples=[8]"), "--samples and --set samples=[8] both say", "give one of them"),
    ((*PLAN, "--seed", "1,x"), "--seed takes whole numbers separated by commas, not '1,x'; such as --seed 4,16"),
    ((*PLAN, "--seed", "4294967296"), "seeds (entry 1) must be below 4294967296, not 4294967296"),
    ((*PLAN, "--variant", "1L_128d"), "unknown variant '1L_128d'; names have the form", "such as 1L_128d_2tok"),
    ((*PLAN, "--variant", "モデル"), "unknown variant 'モデル'; names have the form", "such as 1L_128d_2tok"),
    ((*PLAN, "--variant", "999999999L_9d_1tok"), "has 999,999,999 layers; at most 10,000 are possible"),
    ((*PLAN, "--variant", "1L_7d_1tok", "--set", "model.num_splits=2"),
     "model.num_splits = 2 does not divide context_dim = 7 of '1L_7d_1tok'"),
    ((*PLAN, "--settings", "smal"), "unknown settings preset 'smal'; did you mean 'small'?; installed: small,"),
    ((*PLAN, "--executor", "lcoal"), "unknown executor 'lcoal'; did you mean 'local'?; installed: local"),
    ((*PLAN, "--device", "gpu"), "unknown device 'gpu'; use one of auto, cpu, cuda, mps or cuda:N"),
    ((*PLAN, "--device", "cuda:99"), "device 'cuda:99' is not on this machine", "use cpu"),
    ((*PLAN, "--stop-rule", "stalled,forecst"), "unknown stop rule 'forecst'; did you mean 'forecast'?; installed: "),
    (("fit", "runs.csv", "--law", "power-law,saturatin"), "unknown law 'saturatin'; did you mean 'saturating'?"),
    (("predict", "runs.csv", "--law", "power-law, saturatin", "--at", "train_tokens=9"), "unknown law 'saturatin';"),
    ((*PLAN, "--stop-rule", "stalld"), "unknown stop rule 'stalld'; did you mean 'stalled'?; installed: forecast, "),
    ((*PLAN, "--name", "../up"), 'letters, digits, spaces and . _ + -, a letter or digit first, not "../up"'),
    ((*PLAN, "--name", "two\nlines"), r'a letter or digit first, not "two\nlines"'),
    ((*PLAN, "--name", "x" * 3000), "name must be at most 100 characters, not \"xxx"),
    ((*PLAN, "--corpus", "embeded"), "unknown corpus 'embeded'; did you mean 'embedded'?; installed: embedded, hf,"),
    ((*PLAN, "--corpus", "text"), "corpus option 'path' is required: --set corpus.path=..."),
    ((*PLAN, "--corpus", "text", "--set", "corpus.path=nowhere"), "nowhere: no such file or folder", "paths start at"),
    ((*PLAN, "--corpus", "text", "--set", "corpus.path=notes"),
     "notes: the folder has no files that match '**/*.txt'", "it has 2 .md: --set corpus.glob='**/*.md'"),
    ((*PLAN, "--corpus", "text", "--set", "corpus.path=hollow"), "hollow: the folder has no files", "no files at all"),
    ((*PLAN, "--corpus", "text", "--set", "corpus.path=one.txt"), "too few documents to split: found 1", "give more"),
    ((*PLAN, "--corpus", "text", "--set", "corpus.path=mixed"), "too few documents to split: found 1, of",
     "1 of 3 files are read, those that match '**/*.txt'; there are also 2 .md: --set corpus.glob='**/*.md'"),
    ((*PLAN, "--corpus", "jsonl", "--set", "corpus.path=runs.csv"), "runs.csv:1: expected a JSON object, found exp"),
    ((*PLAN, "--set", "corpus.path=notes"), "corpus 'embedded' has no option 'path'", "say --corpus text"),
    ((*PLAN, "--set", "phase1.learning_rat=1"), "'phase1.learning_rat'; did you mean 'learning_rate'?; known: batch"),
    ((*PLAN, "--set", "learning_rate=1"), "did you mean phase1.learning_rate or phase2.learning_rate?"),
    ((*PLAN, "--set", "phase3.epochs=1"), "unknown key 'phase3'; did you mean 'phase2'?; known: name, variants"),
    ((*PLAN, "--set", "phase1.learning_rate=fast"), 'phase1.learning_rate must be a number, not "fast"'),
    ((*PLAN, "--set", "phase1.learning_rate=inf"), "phase1.learning_rate must be finite, not inf"),
    ((*PLAN, "--set", "phase1.learning_rate"), "--set takes key=value, such as phase1.learning_rate=0.001, not '"),
    ((*PLAN, "--set", "phase1.max_iterations=2.5"), "phase1.max_iterations must be a whole number, not 2.5"),
    ((*PLAN, "--set", "phase1.max_iterations=" + "9" * 5000),
     "--set phase1.max_iterations=99999999999999999999...: a whole number of more than 64 bits"),
    ((*PLAN, "--set", "samples=" + "[" * 100_000), "--set samples=[[[[[[[[[[[[[[[[[[[[...: brackets in brackets"),
    ((*PLAN, "--set", "seeds=3"), "seeds must be a list, not 3; write seeds = [3]"),
    ((*PLAN, "--set", "name.x=3"), "--set name.x=3: 'name' is not a section"),
    ((*PLAN, "--set", "precision=float16"), "precision must be 'float32' or 'bfloat16', not \"float16\""),
    ((*PLAN, "--set", "phase1.objective=uniff"), "unknown objective 'uniff'; did you mean 'unif'?; installed: "),
    ((*PLAN, "--set", "model.heads=3"), "unknown key 'model.heads'; known: bias_std,", "option of family transformer"),
    ((*PLAN, "--controls", "--set", "phase1.mode=untrained"), "leave phase1.mode = untrained out"),
    (("run", "nowhere.toml"), "cannot read run file 'nowhere.toml': No such file", "`cvfp run --show-config` prints"),
    (("run", "mispelt.toml"), "cannot read run file 'mispelt.toml': No such file", "did you mean 'misspelt.toml'?"),
    (("run", "notes"), "cannot read run file 'notes': it is a folder; `cvfp show notes` prints the runs in one"),
    (("run", "bad.toml"), "run file 'bad.toml' is not TOML: Invalid value (at line 1, column 8)"),
    (("run", "latin.toml"), "run file 'latin.toml' is not UTF-8: byte 0xe9 at offset 8"),
    (("run", "digits.toml"), "run file 'digits.toml' is not TOML: a whole number of more than 64 bits, the most TOML"),
    (("run", "hex.toml"), "run file 'hex.toml' is not TOML: a whole number of more than 64 bits, the most TOML"),
    (("run", "brackets.toml"), "run file 'brackets.toml' is not TOML: brackets in brackets, too many to be read"),
    (("run", "misspelt.toml"), "cvfp: misspelt.toml:4: unknown key 'phase1.learning_rat'; did you mean 'learning_rat"),
    (("run", "misspelt.toml", "--set", "sampels=1"), "cvfp: unknown key 'sampels'; did you mean 'samples'?"),
    (("run", "unsectioned.toml"), "'learning_rate': did you mean phase1.learning_rate or phase2.learning_rate?"),
    (("run", "word.toml"), 'word.toml:1: variants must be a list, not "1L_8d_1tok"; write variants = ["1L_8d_1tok"]'),
    (("run", "commas.toml"), 'commas.toml:2: samples must be a list, not "4, 8"; write samples = [4, 8]'),
    (("run", "quotes.toml"), 'toml:3: samples (entry 1) must be a whole number, not "4,8"; write samples = [4, 8]'),
    (("run", "cells.toml"), "cvfp: unknown key 'cells.sampels' (entry 1); did you mean 'samples'?"),
    (("run", "billion.toml"), "the grid has 1,000,000,000 cells", "at most 100,000 are possible, ask for fewer"),
    (("run", "--name", "made", "--variant", "1L_8d_1tok", "--samples", "4"),
     "experiment 'made' has runs on another corpus", "choose another label with --name"),
    ((*PLAN, "--name", "made", "--variant", "1L_8d_1tok", "--samples", "4"),
     "experiment 'made' has runs on another corpus", "choose another label with --name"),
    (("show",), "missing argument 'PATH...'; see `cvfp show --help`"),
    (("show", "runs.csv", "--jsn"), "no such option '--jsn'; did you mean '--json'?"),
    (("show", "nowhere"), "'nowhere' does not exist; give a folder that `cvfp run` made, logs, or tables"),
    (("show", "runs.cvs"), "'runs.cvs' does not exist; did you mean 'runs.csv'?; give a folder"),
    (("show", "réseau 2/läufe 日本.csv"), "'réseau 2/läufe 日本.csv' does not exist; give"),
    (("show", "hollow"), "no runs in 'hollow': there are no files in it; give logs, tables, or folders of them"),
    (("show", "empty.csv"), "empty.csv: the file is empty"),
    (("show", "head.csv"), "no runs in 'head.csv': head.csv: it has a heading and no row of a run"),
    (("show", "headless.csv"), "headless.csv:1: expected a heading, the names of columns, found 'run-1,12M,0.5B,4.888,",
     "which looks like a run; write a heading line above it"),
    (("show", "words.csv"), "words.csv: no ingester knows its content", "choose one with --format, or write one"),
    (("show", "bytes.csv"), "bytes.csv: no ingester knows its content", "choose one with --format, or write one"),
    (("fit", "dirty.csv"), "dirty.csv:3: 'val_loss' is not a finite number, found '3,4x'; dirty.csv:4: 'val_loss' must",
     "not be negative, found -3.2; to go on without: cvfp ingest dirty.csv --into STORE, then name STORE here"),
    (("fit", "runs.csv", "--law", "powerlaw"), "unknown law 'powerlaw'; did you mean 'power-law'?; installed: "),
    (("fit", "runs.csv", "--y", "val_pplx"), "no run has val_pplx; did you mean 'val_ppl'?; there are: val_ppl,",
     "--map val_pplx=COLUMN"),
    (("fit", "runs.csv", "--by", "nosuch"), "no column 'nosuch'; there are: ", "map one: --map nosuch=COLUMN"),
    (("predict", "runs.csv", "--tokens", "10x", "--by", "nosuch"), "no column 'nosuch'; there are: "),
    (("plot", "runs.csv", "--by", "nosuch", "-o", "made.svg"), "no column 'nosuch'; there are: "),
    (("fit", "runs.csv", "--set", "E=x"), "no option 'E' for power-law; known: none"),
    (("fit", "runs.csv", "--where", "params >"), '--where "params >": is not understood', "allowed are numbers"),
    (("fit", "runs.csv", "--where", "parms > 3"), "no column 'parms'; did you mean 'params'?; there are: params, "),
    (("fit", "runs.csv", "--where", "val_ppl < 1k", "--where", "params > 50m"),
     "--where params > 50m: is true for none of 10 runs"),
    (("fit", "runs.csv", "--where", "val_ppl < 0"), "--where val_ppl < 0: is true for none of 10 runs"),
    (("fit", "runs.csv", "--map", "val_loss"), "--map val_loss: expected column=source, or a mapping file: No such"),
    (("fit", "runs.csv", "--map", "val_loss=log(nosuch)"), "no column 'nosuch'; there are: "),
    (("predict", "runs.csv"), "no point to predict at; give --at NAME=VALUE, such as --at train_tokens=10x"),
    (("predict", "runs.csv", "--at", "2M"), "--at takes NAME=VALUE, not '2M'; such as --at params=7e9"),
    (("predict", "runs.csv", "--at", "2M,params=3"), "--at takes NAME=VALUE, not '2M,params=3'; such as --at"),
    (("predict", "runs.csv", "--at", "train_tokens=many"), "--at train_tokens must be a number such as 5e6 or 2M, not"),
    (("predict", "runs.csv", "--at", "tokns=2M"), "--at tokns: law 'power-law' is a function of train_tokens"),
    (("predict", "runs.csv", "--at", "params=1B"),
     "give --at train_tokens=VALUE too (law chinchilla), or --x params for a curve of params"),
    (("plot", "runs.csv"), "missing option '-o' / '--out'; see `cvfp plot --help`"),
    (("plot", "runs.csv", "-o", "a.bmp"), "cannot write 'a.bmp': a figure is .svg, .png, .pdf, .pgf"),
    (("optimum", "runs.csv"), "no budget; give --flops, such as --flops 1e21"),
    (("compare", "runs.csv"), "one arm, a:b: two or more are compared; give another path, or", "--by COLUMN"),
    (("plan", "runs.csv"), "no target; give --target, such as --target params=7e9,train_tokens=1.4e11"),
    (("forecast", "runs.csv"), "no run has a curve of a metric over its steps", "give logs or a folder that"),
    (("laws", "chinchila"), "unknown law 'chinchila'; did you mean 'chinchilla'?; installed: "),
    (("report", "runs.csv", "--template", "sumary"), "unknown template 'sumary'; did you mean 'summary'?; installed: "),
    (("report", "runs.csv", "-o", "a.docx"), "cannot write 'a.docx': a report is .md, .html or .tex, not .docx"),
    (("report", "runs.csv", "--lang", "xx"), "no language 'xx'; the template has: en, ja"),
    (("report", "runs.csv", "--template", "summary", "--set", "nosuch=1"), "template 'summary' has no option 'nosuch'"),
    (("ingest", "runs.csv", "--format", "cvs"), "unknown ingester 'cvs'; did you mean 'csv'?; installed: "),
    (("settings", "learnin_rate"), "no setting 'learnin_rate'; did you mean 'learning_rate'?; `cvfp settings` lists"),
    (("plugin", "new", "mine", "--kind", "modle"), "unknown kind 'modle'; there are: variant, objective, ending, "),
    (("plugin", "new", "9bad", "--kind", "variant"), "begin with a letter, such as cvfp-mine"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mistakes")
    for name, content in FILES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    store.write(store.create(folder / "runs" / "made"), RunResult(record=Record(
        run_id="1L_8d_1tok-n4", experiment="made", variant="1L_8d_1tok", corpus="other", corpus_hash="0" * 64,
        num_samples=4, train_tokens=100, val_ppl=30.0)))
    return folder


@pytest.mark.parametrize(("typed", "parts"), [(typed, parts) for typed, *parts in MISTAKES],
                         ids=[" ".join(word[:20] for word in typed) for typed, *_ in MISTAKES])
def test_a_mistake_ends_in_one_line_that_names_it_and_what_to_type(typed, parts, place, monkeypatch):
    monkeypatch.chdir(place)
    done = CliRunner().invoke(app, typed, env={"CVFP_CACHE": str(place / "cache"), "COLUMNS": "80"})
    assert isinstance(done.exception, SystemExit), repr(done.exception)
    assert done.exit_code in (1, 2)
    (line,) = done.stderr.splitlines()
    assert line.startswith("cvfp: ")
    assert len(line) <= 2010
    assert line.isprintable()
    assert done.stdout == ""
    start = 0
    for part in parts:
        assert part in line[start:]
        start = line.index(part, start) + len(part)


def test_names_with_letters_of_any_language_and_spaces_are_no_mistake(place, monkeypatch):
    monkeypatch.chdir(place)
    assert "0.3" in made_grids.in_process("show", "réseau 1/läufe 日本.csv", folder=place).stdout
    made_grids.in_process(*PLAN, "--name", "モデル 1", "--samples", "4", folder=place)


def test_a_line_is_never_longer_than_a_screen_nor_moves_the_cursor(place, monkeypatch):
    monkeypatch.chdir(place)
    done = CliRunner().invoke(app, ["show", "a\x1b[2J\u202e"])
    assert done.stderr == ("cvfp: 'a\\u001b[2J\\u202e' does not exist; give a folder that `cvfp run` made, logs, or "
                           "tables\n")
    done = CliRunner().invoke(app, ["fit", "runs.csv", "--y", "y" * 10_000])
    assert 1000 < len(done.stderr) < 2020


HEAD = "name,model_size,D,loss\n"
ROWS = [(f"run-{n}-{d}", n, d, 2 + 400 / n**0.34 + 2000 / d**0.37) for n in (1e7, 4e7, 1e8) for d in (1e9, 3e9, 1e10)]


def table(head=HEAD, size=1.0, loss=lambda value: value):
    return head + "".join(f"{name},{n / size:.6g},{d:.6g},{loss(value):.6f}\n" for name, n, d, value in ROWS)


DOUBTFUL = [
    (table(loss=math.exp), "val_loss 23.6 to 99.78: mostly above 15 nat a token; perplexities?", "val_loss=log(loss)"),
    (table(size=1e6), "params 10 to 100: all below 1,000; millions?", "params=model_size * 1e6"),
    (table("name,model_size,D,loss in bits\n", loss=lambda value: value / math.log(2)),
     "loss in bits * 0.693147 is read as val_loss", ""),
    (table() + table().splitlines()[-1] + "\n", "1 run is repeated and counts once", ""),
]


@pytest.mark.parametrize(("content", "said", "cure"), DOUBTFUL)
def test_values_that_are_hardly_in_their_unit_and_rows_that_are_repeated_are_said(content, said, cure, tmp_path):
    (tmp_path / "plain.csv").write_text(table())
    (tmp_path / "runs.csv").write_text(content)
    notes = "\n".join(cvfp.read(tmp_path / "runs.csv").inputs.notes)
    assert said + (f" --map '{cure}'" if cure else "") in notes
    name, _, expression = cure.partition("=")
    cured = cvfp.read(tmp_path / "runs.csv", map={name: expression} if cure else None)
    plain = cvfp.read(tmp_path / "plain.csv")
    for each in (plain, cured) if cure else (plain,):
        assert not any(word in note for note in each.inputs.notes for word in ("?", "repeated"))
    for column in ("params", "val_loss"):
        assert cured.records[column].to_list() == pytest.approx(plain.records[column].to_list(), rel=1e-5)


def test_runs_that_are_all_alike_are_nothing_to_fit(tmp_path):
    (tmp_path / "runs.csv").write_text(table(loss=lambda _: 4.1))
    for law in (None, "power-law"):
        (fit,) = cvfp.fit(tmp_path / "runs.csv", law, y="val_loss" if law else None)
        assert fit.status == "not identifiable"
        assert fit.reason == "all 9 runs have val_loss 4.1, so there is nothing to fit; check the column"


def test_help_names_no_types_of_python():
    for words in ([], *([name] for name in typer.main.get_command(app).commands), ["plugin", "new"]):
        shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80"}).stdout
        assert not re.search(r"<\w", shown), shown


def test_a_line_on_a_terminal_breaks_between_words():
    assert screen.wrapped("one two three", 24) == "one two three"
    assert screen.wrapped("word " * 12, 23) == "\n".join(["word word word word"] * 3)
    assert screen.wrapped("word " * 8, 27, indent=4) == "word word word word\n    word word word word"


def test_runs_without_a_phase_1_have_nothing_to_judge(place, monkeypatch):
    monkeypatch.chdir(place)
    shown = made_grids.in_process("check", "runs.csv", folder=place).stdout
    assert shown.startswith("nothing to judge: no finished run has a Phase 1")
    assert "val_er" in shown


def test_what_several_sources_share_stands_once(place):
    shown = made_grids.in_process("settings", "corpus", folder=place).stdout
    assert sum(line.split()[:1] == ["vocab_size"] for line in shown.splitlines()) == 1
    assert sum(line.split()[:1] == ["glob"] for line in shown.splitlines()) == 2
