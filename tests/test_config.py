"""What is wrong with a run file or its options is said in one line, with exit code 2, before anything is written."""

import json
import tomllib
from dataclasses import fields, replace

import pytest
from typer.testing import CliRunner

import made_grids
from cvfp_core import registry
from cvfp_core.cli.app import app
from cvfp_core.errors import PluginError, UsageError, shown
from cvfp_core.registry.kinds import CorpusSource, Option, Preset, VariantFamily
from cvfp_core.running import config, grid, runfile
from cvfp_core.running import run as running
from cvfp_core.running.config import Geometric, Matrix
from cvfp_core.running.corpora import load_corpus, without_defaults_of_another
from cvfp_core.schema.cells import Variant
from cvfp_core.schema.settings import Phase1Settings, Phase2Settings, Settings, Shortcuts, options_of

ALL_KEYS = ("name, variants, matrix, samples, cells, seeds, controls, settings, device, executor, precision, corpus, "
            "phase1, objective, ending, phase2, model, shortcuts")


@pytest.fixture(scope="module")
def installed():
    return registry.load(only=(), disabled=()).require_healthy()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder with a corpus, in which commands run."""
    made_grids.corpus(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CVFP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("cvfp_core.protocol.run.run_cell", lambda *_: pytest.fail("training started"))
    return tmp_path


def refusal(place, *arguments):
    """The line with which `cvfp run` refuses the arguments."""
    before = sorted(place.iterdir())
    result = CliRunner().invoke(app, ["run", *arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("cvfp: ")
    assert [path for path in sorted(place.iterdir()) if path.name != "cache"] == before
    return line.removeprefix("cvfp: ")


SET = {
    "phase1.learnin_rate=1": "unknown key 'phase1.learnin_rate'; did you mean 'learning_rate'?; known: batch_tokens, ",
    "shortcuts.row_block=true": "unknown key 'shortcuts.row_block'; did you mean 'row_blocks'?; known: blocked_rank, ",
    "shortcuts.chunked_head=1": "shortcuts.chunked_head must be true or false, not 1",
    "shortcuts.checkpoint_seconds=-1": "shortcuts.checkpoint_seconds must be at least 0, not -1",
    "shortcuts.memory_gib=0": "shortcuts.memory_gib must be above 0, not 0",
    "phase2.epoch=1": "unknown key 'phase2.epoch'; did you mean 'epochs'?; known: batch_tokens, ",
    "varients=['x']": f"unknown key 'varients'; did you mean 'variants'?; known: {ALL_KEYS}",
    "phase3.epochs=1": "unknown key 'phase3'; did you mean 'phase2'?",
    "model.num_split=2": "unknown key 'model.num_split'; did you mean 'num_splits'?; known: bias_std, ",
    "corpus.pth=x": "unknown key 'corpus.pth'; did you mean 'path'?; known: document, ",
    "samples={initial=4, multipler=2}": "unknown key 'samples.multipler'; did you mean 'multiplier'?; known: initial, ",
    "matrix={num_layer=[1]}": "unknown key 'matrix.num_layer'; did you mean 'num_layers'?; known: num_layers, ",
    "settings=v33": "unknown settings preset 'v33'; did you mean 'v3'?; installed: small, small-transformer, v1, ",
    "settings=3": "settings must be a text, not 3",
    "device=gpu": "unknown device 'gpu'; use one of auto, cpu, cuda, mps or cuda:N",
    "device=7": "device must be a text, not 7",
    "executor=mesos": "unknown executor 'mesos'; installed: local, ray, slurm",
    "executor=7": "executor must be a section, not 7",
    "executor.address=x": "unknown key 'executor.address'; known: none",
    "executor.address=[1]": "executor.address must be a text, a number, true or false, not [1]",
    "controls=yes": 'controls must be true or false, not "yes"',
    "corpus=text": 'corpus must be a section, not "text"',
    "variants=['1L_0d_1tok']": "unknown variant '1L_0d_1tok'; names have the form {L}L_{d}d_{T}tok",
    "variants=['1L_99999999999d_1tok']": "unknown variant '1L_99999999999d_1tok'",
    "variants=[]": 'no variants: give variants = ["1L_128d_1tok"], a [matrix] or [[cells]] in the run file, or ',
    "samples=[0]": "samples (entry 1) must be at least 1, not 0",
    "samples=[4, -8]": "samples (entry 2) must be at least 1, not -8",
    "samples=[4, true]": "samples (entry 2) must be a whole number, not true",
    "samples=[4.0]": "samples (entry 1) must be a whole number, not 4.0",
    "samples=[nan]": "samples (entry 1) must be a whole number, not nan",
    "samples=['4']": 'samples (entry 1) must be a whole number, not "4"',
    "samples=[]": "samples must be a list with at least 1 entry, not []",
    "samples=4": "samples must be a list, not 4",
    "samples=[4, 900]": "900 samples asked for; corpus 'text:corpus.txt' has 54 training documents, take fewer",
    "samples={multiplier=2}": "key 'samples.initial' is missing",
    "samples={initial=0}": "samples.initial must be at least 1, not 0",
    "samples={initial=true}": "samples.initial must be a whole number, not true",
    "samples={initial=4, multiplier=1.0}": "samples.multiplier must be above 1, not 1.0",
    "samples={initial=4, multiplier=inf}": "samples.multiplier must be finite, not inf",
    "samples={initial=4, multiplier='2'}": 'samples.multiplier must be a number, not "2"',
    "samples={initial=4, multiplier=1e300}": "samples grow without bound: take a smaller multiplier or fewer windows",
    "samples={initial=4, window=1}": "samples.window must be at least 2, not 1",
    "samples={initial=4, windows=1e9}": "samples.windows must be a whole number, not 1000000000.0",
    "samples={initial=4, windows=1000000000}": "samples.windows must be at most 1000, not 1000000000",
    "matrix=3": "matrix must be a section, not 3",
    "matrix={num_layers=[1], context_dim=[16]}": "key 'matrix.num_input_tokens' is missing",
    "matrix={num_layers=[], context_dim=[16], num_input_tokens=[1]}": "matrix.num_layers must be a list with at least ",
    "matrix={num_layers=[1, 0], context_dim=[16], num_input_tokens=[1]}": "matrix.num_layers (entry 2) must be at lea",
    "seeds=[]": "seeds must be a list with at least 1 entry, not []",
    "seeds=[-1]": "seeds (entry 1) must be at least 0, not -1",
    "seeds=[999999999999999999]": "seeds (entry 1) must be below 4294967296, not 999999999999999999",
    "phase1=3": "phase1 must be a section, not 3",
    "phase1.learning_rate=fast": 'phase1.learning_rate must be a number, not "fast"',
    "phase1.learning_rate=true": "phase1.learning_rate must be a number, not true",
    "phase1.learning_rate=0": "phase1.learning_rate must be above 0, not 0",
    "phase1.learning_rate=nan": "phase1.learning_rate must be finite, not nan",
    "phase1.learning_rate=inf": "phase1.learning_rate must be finite, not inf",
    "phase1.learning_rate.x=1": "phase1.learning_rate must be a number, not {x = 1}",
    "phase1.max_iterations=4.5": "phase1.max_iterations must be a whole number, not 4.5",
    "phase1.max_iterations=true": "phase1.max_iterations must be a whole number, not true",
    "phase1.max_iterations=1": "phase1.max_iterations must be at least 2, not 1",
    "phase1.dist_reg_weight=1.1": "phase1.dist_reg_weight must be from 0 to 1, not 1.1",
    "phase1.mode=train": 'phase1.mode must be one of trained, untrained, zero-context, not "train"',
    "phase1.mode=": 'phase1.mode must be one of trained, untrained, zero-context, not ""',
    "phase1.mode=a\nb": 'phase1.mode must be one of trained, untrained, zero-context, not "a\\nb"',
    "phase2.epochs=0": "phase2.epochs must be at least 1, not 0",
    "precision=float16": "precision must be 'float32' or 'bfloat16', not \"float16\"",
    "model.num_splits=two": 'model.num_splits must be a whole number, not "two"',
    "model.num_splits=true": "model.num_splits must be a whole number, not true",
    "model.num_splits=0": "model.num_splits must be at least 1, not 0",
    "model.num_splits=3": "model.num_splits = 3 does not divide context_dim = 16 of '1L_16d_1tok'",
    "model.feed_forward=tanh": 'model.feed_forward must be one of relu, gelu, not "tanh"',
    "model.feed_forward=[1]": "model.feed_forward must be a text, a number, true or false, not [1]",
    "model.init_std=nan": "model.init_std must be finite, not nan",
    "model.context_init_std=true": "model.context_init_std must be at least 0, not true",
    "corpus.vocab_size=big": 'corpus.vocab_size must be a whole number, not "big"',
    "corpus.vocab_size=3": "corpus.vocab_size must be at least 257, not 3",
    "corpus.order=sorted": 'corpus.order must be one of shuffled, kept, not "sorted"',
    "corpus.path=nowhere.txt": "nowhere.txt: no such file or folder",
    "name=..": 'name must be made of letters, digits, spaces and . _ + -, a letter or digit first, not ".."',
    "name=a/b": 'name must be made of letters, digits, spaces and . _ + -, a letter or digit first, not "a/b"',
    "phase1.learning_rate": "--set takes key=value, such as phase1.learning_rate=0.001, not 'phase1.learning_rate'",
    "=3": "--set takes key=value, such as phase1.learning_rate=0.001, not '=3'",
    "name.first=x": "--set name.first=x: 'name' is not a section",
}


@pytest.mark.parametrize("assignment", SET, ids=lambda text: text.replace("\n", " "))
def test_an_impossible_setting_is_refused(place, assignment):
    arguments = made_grids.options(place, samples=None)
    if not assignment.startswith("samples"):
        arguments += ["--set", "samples=[4, 8]"]
    if assignment.startswith(("variants", "matrix")):
        arguments = arguments[2:]
    elif assignment.startswith("name."):
        arguments = ["--set", "name=made", *arguments]
    assert SET[assignment] in refusal(place, *arguments, "--set", assignment)


OPTIONS = {
    ("--variant", "gpt2"): "unknown variant 'gpt2'; names have the form {L}L_{d}d_{T}tok",
    ("--variant", ""): "unknown variant ''",
    ("--settings", "v33"): "unknown settings preset 'v33'; did you mean 'v3'?",
    ("--corpus", "txt"): "unknown corpus 'txt'; did you mean 'text'?",
    ("--corpus", 'a"b'): "unknown corpus 'a\"b'",
    ("--device", "gpu"): "unknown device 'gpu'",
    ("--device", "cuda:99"): "device 'cuda:99' is not on this machine (",
    ("--samples", "4,x"): "--samples takes whole numbers separated by commas, not '4,x'",
    ("--samples", ""): "--samples takes whole numbers separated by commas, not ''",
    ("--samples", "0"): "samples (entry 1) must be at least 1, not 0",
    ("--samples=-4",): "samples (entry 1) must be at least 1, not -4",
    ("--samples", "4,5000"): "5000 samples asked for; corpus 'text:corpus.txt' has 54 training documents",
    ("--seed=-1",): "seeds (entry 1) must be at least 0, not -1",
    ("--name", ".."): "name must be made of letters, digits",
    ("--out", "corpus.txt/runs"): "cannot write to 'corpus.txt/runs/default': Not a directory; choose another folder",
    ("--template", "summary"): "run first, then cvfp report",
}


@pytest.mark.parametrize("arguments", OPTIONS, ids=" ".join)
def test_an_impossible_option_is_refused(place, arguments):
    given = made_grids.options(place)
    if arguments[0] == "--device":
        at = given.index("device=cpu")
        del given[at - 1:at + 1]
    assert OPTIONS[arguments] in refusal(place, *given, *arguments)


@pytest.mark.parametrize(("option", "assignment"), [
    (("--samples", "4,8"), "samples=[4]"), (("--device", "cpu"), "device=cuda"), (("--seed", "1"), "seeds=[2]"),
    (("--corpus", "text"), "corpus.name=jsonl"), (("--settings", "small"), "settings=v3"), (("--name", "a"), "name=b"),
    (("--variant", "1L_8d_1tok"), "variants=['2L_8d_1tok']"), (("--variant", "1L_8d_1tok"), "matrix.num_layers=[1]"),
    (("--executor", "local"), "executor.name=local"), (("--executor", "local"), "executor=local"),
    (("--controls",), "controls=false"), (("--samples", "4,8"), "samples.initial=4"),
])
def test_a_key_that_is_given_twice_is_refused(place, option, assignment):
    said = refusal(place, *option, "--set", assignment)
    assert f"{option[0]} and --set {assignment} both say what " in said
    assert said.endswith("is; give one of them")


def test_an_option_of_another_corpus_is_answered_with_that_corpus(place):
    said = refusal(place, "--samples", "4", "--set", "corpus.path=corpus.txt")
    assert said.endswith("corpus 'embedded' has no option 'path'; text, jsonl have it: say --corpus text")
    said = refusal(place, "--samples", "4", "--corpus", "embedded", "--set", "corpus.path=corpus.txt")
    assert "unknown key 'corpus.path'; known: document_characters, " in said
    assert "unknown key 'corpus.pth'; did you mean 'path'?" in refusal(
        place, "--samples", "4", "--corpus", "text", "--set", "corpus.pth=x")


def test_controls_run_every_mode_so_none_may_be_named(place):
    said = refusal(place, *made_grids.options(place), "--controls", "--set", "phase1.mode=untrained")
    assert said.endswith("controls = true runs every phase1.mode: leave phase1.mode = untrained out")


FILES = {
    b"name = = 3": "run file 'run.toml' is not TOML: Invalid value (at line 1, column 8)",
    b"name = 'caf\xe9'": "run file 'run.toml' is not UTF-8: byte 0xe9 at offset 11",
    b"variants = ['1L_16d_1tok']": "key 'samples' is missing",
    b"samples = [4]\nvariant = ['1L_16d_1tok']": "unknown key 'variant'; did you mean 'variants'?; known: name, ",
    b"samples = [4]\nvariants = ['1L_16d_1tok']\n[phase1]\nlearning_rate = '0.1'":
        'phase1.learning_rate must be a number, not "0.1"',
    b"samples = [4]\n[corpus]\nname = 2020-01-01":
        "corpus.name must be a text, a number, true or false, not 2020-01-01",
    b"samples = [4]": "no variants: give",
    b"": "no variants: give",
    b"[[cells]]\nvariant = '1L_16d_1tok'": "key 'cells.samples' (entry 1) is missing",
    b"[[cells]]\nvariant = '1L_16d_1tok'\nsamples = 4\n[[cells]]\nvariant = '1L_16d_1tok'\nsamples = 0":
        "cells.samples (entry 2) must be at least 1, not 0",
    b"[[cells]]\nvariants = '1L_16d_1tok'\nsamples = 4":
        "unknown key 'cells.variants' (entry 1); did you mean 'variant'?; known: variant, samples, seed",
    b"[[cells]]\nvariant = '1L_16d_1tok'\nsamples = 4\nseed = -1": "cells.seed (entry 1) must be at least 0, not -1",
    b"seeds = [1]\n[[cells]]\nvariant = '1L_16d_1tok'\nsamples = 4\nseed = 2":
        "seeds are for nothing, as each of [[cells]]",
    b"[cells]\nvariant = '1L_16d_1tok'": "cells must be a list, not {variant",
    b"samples = [4]\n[[cells]]\nvariant = '1L_16d_1tok'\nsamples = 4": "samples without variants: give those, or ",
}


@pytest.mark.parametrize("content", FILES)
def test_an_impossible_run_file_is_refused(place, content):
    (place / "run.toml").write_bytes(content)
    assert FILES[content] in refusal(place, "run.toml", "--device", "cpu")


def test_a_run_file_that_cannot_be_read_is_refused(place):
    assert refusal(place, "nowhere.toml").startswith("cannot read run file 'nowhere.toml': No such file or directory")
    assert "cannot read run file 'nowhere.toml'" in refusal(place, "nowhere.toml", "--show-config")
    assert refusal(place, ".") == "cannot read run file '.': it is a folder; `cvfp show .` prints the runs in one"


def read(installed, *assignments, **overrides):
    return config.read(None, overrides, assignments, installed)


def test_assignments_take_toml_values_and_unquoted_words(installed):
    made = read(
        installed, "phase1.mode=untrained", "phase1.learning_rate=1", "phase2.epochs = 7", "samples=[8, 2, 8]",
        "device='cpu'", "model.feed_forward=gelu", "precision=bfloat16",
    )
    assert made.settings.phase1.mode == "untrained"
    assert made.settings.phase1.learning_rate == 1.0
    assert isinstance(made.settings.phase1.learning_rate, float)
    assert made.settings.phase2.epochs == 7
    assert made.samples == (2, 8)
    assert made.device == "cpu"
    assert made.settings.model["feed_forward"] == "gelu"
    assert made.settings.precision == "bfloat16"


def test_a_later_assignment_wins_and_leaves_the_rest_of_its_section(installed):
    made = read(installed, "phase1.learning_rate=0.5", "phase1.learning_rate=0.25")
    assert made.settings.phase1.learning_rate == 0.25
    assert made.settings.phase1.max_iterations == 40  # of the default's preset, `small`


def test_settings_lie_over_the_preset_and_the_preset_over_the_defaults(installed):
    plain, v1 = Settings(), installed.get(Preset, "v1").overrides
    made = read(installed, "settings=v1", "phase1.max_iterations=9")
    assert made.settings.phase1.max_iterations == 9
    assert made.settings.phase1.dist_reg_weight == v1["phase1"]["dist_reg_weight"] != plain.phase1.dist_reg_weight
    assert made.settings.phase1.gradient_clip == plain.phase1.gradient_clip


def test_geometric_sizes_are_the_windows_of_the_source():
    sizes = Geometric(initial=50, multiplier=2, window=4, windows=2).sizes()
    assert sizes == (50, 100, 200, 400, 800)
    assert Geometric(initial=10, multiplier=1.5, window=3).sizes() == (10, 15, 22)


def test_geometric_sizes_that_round_to_the_same_number_are_one(installed):
    assert read(installed, "samples={initial=2, multiplier=1.2, window=5}").samples == (2, 3, 4)


def test_a_matrix_is_every_combination_and_a_variant_option_replaces_it(installed):
    matrix = Matrix(num_layers=[1, 2], context_dim=[16], num_input_tokens=[1, 2])
    assert matrix.variants() == ("1L_16d_1tok", "2L_16d_1tok", "1L_16d_2tok", "2L_16d_2tok")
    assignment = "matrix={num_layers=[1, 2], context_dim=[16], num_input_tokens=[1]}"
    both = read(installed, "variants=['1L_16d_1tok']", assignment)
    assert both.variants == ("1L_16d_1tok", "2L_16d_1tok")
    assert read(installed, assignment, variants=["3L_8d_1tok"]).variants == ("3L_8d_1tok",)


def test_a_run_file_written_from_a_configuration_reads_as_the_same(installed, tmp_path):
    odd = 'a "b" \\ c\n\x7fé'
    made = read(installed, f"corpus.path={shown(odd)}", "samples={initial=4}", "model.expansion=2", seeds=[1, 2])
    file = tmp_path / "again.toml"
    file.write_text(runfile.as_toml(made.written), encoding="utf-8")
    again = config.read(file, {}, (), installed)
    assert again == made
    assert again.corpus.options["path"] == odd


def test_the_configuration_shown_is_a_whole_run_file_that_gives_the_same_runs(place, tmp_path):
    file = made_grids.corpus(tmp_path)
    given = ["run", "--variant", "1L_16d_1tok", "--samples", "4,8", "--corpus", "text"]
    for assignment in (f"corpus.path={file}", "corpus.vocab_size=300", "corpus.embed_dim=16", "phase2.epochs=3"):
        given += ["--set", assignment]
    result = CliRunner().invoke(app, [*given, "--show-config"])
    assert result.exit_code == 0, result.stderr
    written = tomllib.loads(result.stdout)
    assert written["phase2"]["epochs"] == 3
    assert written["phase1"]["learning_rate"] == 0.01  # of the preset `small`
    assert set(written["shortcuts"]) == {each.name for each in options_of(Shortcuts)}
    (place / "mine.toml").write_text(result.stdout)
    again = CliRunner().invoke(app, ["run", "mine.toml", "--show-config"])
    assert again.stdout == result.stdout
    assigned = [each for each in given if "=" in each]
    plans = [running.prepare(None, {"variants": ["1L_16d_1tok"], "samples": [4, 8]}, ["corpus.name=text", *assigned]),
             running.prepare("mine.toml")]
    ids = [[cell.run_id for cell in plan.cells] for plan in plans]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 2


def test_every_key_of_a_run_file_is_listed_with_its_meaning():
    listed = json.loads(CliRunner().invoke(app, ["settings", "--json"]).stdout)
    names = [key["name"] for key in listed]
    for section, kind in (("phase1", Phase1Settings), ("phase2", Phase2Settings), ("shortcuts", Shortcuts)):
        assert [name for name in names if name.startswith(section)] == [
            f"{section}.{each.name}" for each in fields(kind)]
    assert {name for name in names if "." not in name} == set(config.RunFile.model_fields) - {
        "matrix", "cells", "corpus", "executor", "phase1", "objective", "ending", "phase2", "model",
        "shortcuts"}
    assert [key["name"] for key in listed if not key["meaning"]] == []
    assert "corpus 'jsonl'" in {key["of"] for key in listed}


def test_a_setting_is_shown_by_either_name_with_its_value_under_a_preset():
    shown = CliRunner().invoke(app, ["settings", "dist_reg_weight", "--settings", "v1"], env={"COLUMNS": "80"}).stdout
    assert "0.8" in shown
    assert "default 0.9" in shown
    assert "from 0 to 1" in shown
    (key,) = json.loads(CliRunner().invoke(app, ["settings", "phase2.epochs", "--json"]).stdout)
    assert (key["value"], key["default"], key["unit"]) == (30, 20, "epochs")
    wrong = CliRunner().invoke(app, ["settings", "learnin_rate"])
    assert wrong.exit_code == 2
    assert "did you mean 'learning_rate'" in wrong.stderr


def test_a_key_without_its_section_is_answered_with_where_it_stands(place):
    assert "did you mean phase1.learning_rate or phase2.learning_rate?" in refusal(place, "--set", "learning_rate=0.1")


def test_cells_are_every_combination_small_sizes_first(installed, tmp_path):
    file = made_grids.corpus(tmp_path)
    made = read(
        installed, f"corpus.path={file}", "corpus.name=text", "corpus.vocab_size=300", "corpus.embed_dim=16",
        variants=["2L_16d_1tok", "1L_16d_1tok"], samples=[8, 4], seeds=[1, 2],
    )
    loaded = load_corpus(installed, made.corpus, tmp_path / "cache")
    cells = grid.cells(made, installed, loaded, "cpu", tmp_path / "cache")
    assert [(cell.seed, cell.num_samples, cell.variant.name) for cell in cells] == [
        (1, 4, "2L_16d_1tok"), (1, 4, "1L_16d_1tok"), (1, 8, "2L_16d_1tok"), (1, 8, "1L_16d_1tok"),
        (2, 4, "2L_16d_1tok"), (2, 4, "1L_16d_1tok"), (2, 8, "2L_16d_1tok"), (2, 8, "1L_16d_1tok"),
    ]
    assert len({cell.run_id for cell in cells}) == 8
    assert cells[0].train_tokens == loaded.document_ends[3] < cells[2].train_tokens
    known = {option.name for option in installed.get(VariantFamily, "residual").options}
    assert set(cells[0].settings.model) == known


def test_an_option_that_does_not_exist_and_an_error_inside_a_corpus_are_told_apart(tmp_path):
    def load(_options, _cache):
        raise KeyError("lost")

    source = CorpusSource(name="odd", title="made", load=load)
    broken = registry.Registry(
        plugins=(), _items={CorpusSource: {"odd": source}},
        _owners={(CorpusSource, "odd"): registry.PluginInfo(name="p", distribution="made-p", version="2")},
    )
    with pytest.raises(UsageError, match=r"unknown key 'corpus\.x'; known: none"):
        load_corpus(broken, config.CorpusChoice(name="odd", options={"x": 1}), tmp_path)
    with pytest.raises(PluginError, match=r"corpus 'odd' of plugin 'p' \(made-p 2\) failed: KeyError: 'lost'"):
        load_corpus(broken, config.CorpusChoice(name="odd"), tmp_path)


def test_each_family_takes_the_options_it_has_and_one_that_none_has_is_refused(installed, tmp_path):
    file = made_grids.corpus(tmp_path)
    families = dict(installed.items(VariantFamily))
    families["bare"] = replace(families["residual"], name="bare", options=(), check=None, parse=parse_bare)
    both = replace(installed, _items={**installed._items, VariantFamily: families})
    choice = config.CorpusChoice(name="text", options={"path": str(file), "vocab_size": 300, "embed_dim": 16})
    loaded = load_corpus(both, choice, tmp_path)

    def models(*assignments, variants):
        asked = read(both, *assignments, variants=variants, samples=[4])
        return [dict(cell.settings.model) for cell in grid.cells(asked, both, loaded, "cpu", tmp_path)]

    bare, residual = models("model.num_splits=2", variants=["bare_1L_8d_1tok", "1L_8d_1tok"])
    assert bare == {}
    assert residual["num_splits"] == 2
    assert residual["init_std"] == installed.get(Preset, "small").overrides["model"]["init_std"]
    assert models(variants=["bare_1L_8d_1tok"]) == [{}]
    with pytest.raises(UsageError, match=r"unknown key 'model\.num_splits'; known: none"):
        models("model.num_splits=2", variants=["bare_1L_8d_1tok"])


def parse_bare(name):
    return Variant.parse(name, family="bare", prefix="bare_")


class _Sources:
    """A registry with one corpus that has an option `path` and no other."""

    def items(self, kind):
        assert kind is CorpusSource
        return {"mine": CorpusSource(name="mine", title="", load=lambda *_: None,
                                     options=(Option(name="path", default=None, help=""),))}


@pytest.mark.parametrize(("assignments", "left"), [
    (["corpus.name=mine"], {"name": "mine"}),
    (["corpus.name=mine", "corpus.path=x"], {"name": "mine", "path": "x"}),
    (["corpus.name=mine", "corpus.split_seed=1"], {"name": "mine", "split_seed": 1}),
    (["corpus.name=mine", "corpus.spilt=1"], {"name": "mine", "spilt": 1}),
])
def test_what_the_default_file_says_of_its_corpus_is_not_asked_of_a_strangers(assignments, left):
    """What the user set stays, so that a wrong key is still refused."""
    default = runfile.parse(None)["corpus"]
    assert "split_seed" in default
    merged = runfile.merged(None, {}, assignments)["corpus"]
    assert without_defaults_of_another(merged, default, assignments, _Sources()) == left


def test_a_corpus_that_has_what_the_default_file_sets_keeps_it(installed):
    made = config.read(None, {}, ["corpus.name=text", "corpus.path=x"], installed)
    assert made.corpus.options == {"split_seed": 1, "path": "x"}
