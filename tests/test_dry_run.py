"""A plan in a second: what a grid takes is counted without torch, and said where it is too much."""

import json
from pathlib import Path

import pytest

import made_grids
import made_plugins
import test_light
from cvfp_core.errors import UsageError
from cvfp_core.protocol.counting import model_size
from cvfp_core.registry import load
from cvfp_core.registry.kinds import VariantFamily
from cvfp_core.running import config, costs, machine, sizes
from cvfp_core.running.config import Geometric, Matrix
from cvfp_core.schema import store


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planned")
    made_grids.corpus(folder)
    made_grids.in_process("run", *made_grids.options(folder), "--dry-run", "--no-time", folder=folder)
    return folder


def plan(place, *more, variants=("1L_16d_1tok",), samples="4,8,16", code=0):
    return made_grids.in_process("run", *made_grids.options(place, variants=variants, samples=samples), "--dry-run",
                                 *more, folder=place, code=code)


def test_a_grid_is_planned_without_torch(place):
    options = made_grids.options(place, variants=("1L_16d_1tok", "transformer_1L_16d_4tok"))
    found, out = test_light.imported("run", *options, "--dry-run", "--no-time", "--json", folder=place)
    assert "polars" in found
    assert not found & {"torch", "tokenizers", "lmfit", "matplotlib"}
    assert [row["seconds"] for row in json.loads(out)] == [None] * 6


SIZES = [
    ("1L_16d_1tok", {}), ("3L_12d_3tok", {}), ("2L_16d_2tok", {"num_splits": 2}), ("1L_24d_1tok", {}),
    ("3L_12d_2tok", {"feed_forward": "gelu", "expansion": 3}),
    ("transformer_1L_16d_4tok", {}), ("transformer_3L_24d_5tok", {"heads": 2, "inner_width": 7}),
]


@pytest.mark.parametrize(("name", "given"), SIZES)
def test_a_size_that_a_family_declares_is_that_of_the_model_it_builds(name, given):
    registry = load(only=(), disabled=())
    variant = registry.variant(name)
    family = registry.get(VariantFamily, variant.family)
    options = {option.name: option.default for option in family.options} | given
    for width in (16, 10):
        declared, counted = family.size(variant, options, width), model_size(variant, family, options, 30, width)
        assert (declared.params_phase1, declared.params_phase2) == (counted.params_phase1, counted.params_phase2)
        blocks = variant.num_layers * options.get("num_splits", 0)  # each keeps the window, where tokens are not shared
        phase1 = declared.activations_phase1 + blocks * variant.num_input_tokens * width
        assert counted.activations_phase1 / 1.5 <= phase1 <= 1.5 * counted.activations_phase1
        assert 1 / 1.5 <= declared.activations_phase2 / counted.activations_phase2 <= 1.5


UNSIZED = """
from cvfp_core import hookimpl
from cvfp_core.registry.kinds import VariantFamily
from cvfp_core.schema.cells import Variant

def parse(name):
    return Variant.parse(name, family="NAME", prefix="NAME_")

def build(variant, options, embeddings, generator):
    import torch

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.one = torch.nn.Linear(WIDTH, WIDTH, bias=False, device="meta").to_empty(device="cpu")
            with torch.no_grad():
                self.one.weight.normal_(generator=generator)
            MORE
            self.two = torch.nn.Linear(variant.context_dim, embeddings.shape[1], bias=False)

        def contexts(self, previous, windows):
            return [previous]

        def hidden(self, contexts, windows):
            return self.two(contexts[-1])

        def phase1_parameters(self):
            return self.one.parameters()

        def phase2_parameters(self):
            return self.two.parameters()

    return Model()

@hookimpl
def cvfp_variants():
    return [VariantFamily(name="NAME", title="made", form="NAME_{L}L_{d}d_{T}tok", parse=parse, build=build)]
"""


def unsized(site, name, width, more="pass"):
    made_plugins.install(site, name, UNSIZED.replace("NAME", name).replace("WIDTH", str(width)).replace("MORE", more))


def test_a_family_that_declares_no_size_is_counted_on_its_model_without_memory(place, monkeypatch):
    """1e12 parameters would take 4 TB."""
    unsized(place / "site", "huge", 10**6)
    unsized(place / "site", "odd", 7, "assert float(self.one.weight.sum()) != 0  # it looks at numbers")
    monkeypatch.syspath_prepend(place / "site")
    done = plan(place, "--no-time", variants=("huge_1L_8d_1tok", "odd_1L_8d_1tok", "1L_8d_1tok"), samples="4")
    assert "1,000,000,000,000 + 128" in done.stdout
    assert " 49 + 128 " in done.stdout
    assert "parameters of huge, odd were counted on the model, as the family declares no size" in " ".join(
        done.stdout.split())
    assert "1 of 3 cells will not fit into memory: huge_1L_8d_1tok with 4 samples takes about 14,902 GiB" in done.stderr


@pytest.mark.slow
def test_the_memory_of_a_run_is_within_half_as_much_again_of_the_estimate(place):
    options = [*made_grids.options(place, variants=("1L_4000d_1tok",), samples="4"), "--set", "phase2.epochs=1"]
    options[options.index("phase1.max_iterations=4")] = "phase1.max_iterations=2"
    (row,) = json.loads(made_grids.in_process("run", *options, "--dry-run", "--no-time", "--json", folder=place).stdout)
    done = made_grids.cvfp("run", *options, "--json", folder=place)
    peak = json.loads(done.stdout.splitlines()[-1])["peak_memory"]
    assert row["memory"] / 1.5 <= peak <= 1.5 * row["memory"]
    assert row["memory"] > 1.5 * sizes.PROCESS


def test_what_a_cell_typically_takes_are_the_means_of_the_default_grid_up_to_its_limits():
    runs = store.read(Path(__file__).parents[1] / "examples" / "logs" / "default")
    assert (runs["phase1_iterations"] < 40).all()
    assert (runs["epochs"] < 30).all()
    assert (round(runs["phase1_iterations"].mean()), round(runs["epochs"].mean())) == (costs.ITERATIONS, costs.EPOCHS)


def test_the_time_of_a_cell_is_between_what_is_typical_and_its_limits(place):
    (typical,), (short,) = (json.loads(plan(place, "--json", "--set", f"phase1.max_iterations={iterations}", "--set",
                                            f"phase2.epochs={epochs}", samples="4").stdout)
                            for iterations, epochs in ((150, 110), (10, 5)))
    assert typical["seconds_typical"] == pytest.approx(typical["seconds"] / 10)
    assert short["seconds_typical"] == short["seconds"] > 0


def test_variants_may_be_separated_by_commas(place):
    rows = json.loads(plan(place, "--no-time", "--json", variants=("1L_16d_1tok, 2L_16d_1tok",), samples="4").stdout)
    assert [row["variant"] for row in rows] == ["1L_16d_1tok", "2L_16d_1tok"]


def test_a_cell_that_will_not_fit_is_said_before_the_run_and_its_time_is_not_measured(place, monkeypatch):
    monkeypatch.setattr(machine, "free_memory", lambda _device: 2**28)
    said = ("cvfp: warning: 3 of 3 cells will not fit into memory: 1L_16d_1tok with 16 samples takes about 0.4 GiB, "
            "and 0.2 GiB are free on cpu; take a narrower variant, fewer samples or a smaller phase1.batch_tokens\n")
    done = plan(place)
    assert done.stderr == said
    assert "time not measured: 1L_16d_1tok, the smallest, will not fit into memory" in done.stdout
    options = made_grids.options(place)
    made = made_grids.in_process("run", *options, folder=place)
    assert made.stderr.startswith(said)
    assert "will not fit" not in made_grids.in_process("run", *options, folder=place).stderr  # all are finished


def test_no_time_is_measured_where_a_few_steps_take_too_long_or_the_time_is_up(place, monkeypatch):
    monkeypatch.setattr(machine, "free_memory", lambda _device: None)
    done = plan(place, variants=("1L_90000d_1tok",), samples="4")
    assert "time not measured: a few steps of 1L_90000d_1tok, the smallest, take more than 2 s" in done.stdout
    done = plan(place, variants=("1L_16d_1tok", "1L_90000d_1tok"), samples="5")
    assert "measured on 1L_16d_1tok, and by FLOPs from there for 1 more" in " ".join(done.stdout.split())


@pytest.mark.parametrize(("written", "said"), [
    ("variants = ['a']\nsamples = {initial = 1, multiplier = 1.001, window = 1000, windows = 1000}\n"
     f"seeds = {[*range(600)]}", "the grid has 1,199,400 cells (1,999 samples x 600 seeds); at most 100,000 are"),
    (f"samples = [1]\n[matrix]\nnum_layers = {[*range(1, 1001)]}\ncontext_dim = {[*range(1, 1001)]}\n"
     f"num_input_tokens = {[*range(1, 1001)]}", "the grid has 1,000,000,000 cells (1,000,000,000 variants); at most"),
])
def test_a_grid_of_too_many_cells_is_refused_by_arithmetic(written, said, tmp_path, monkeypatch):
    def never(_self):
        raise AssertionError("the grid is listed")

    monkeypatch.setattr(Matrix, "variants", never)
    monkeypatch.setattr(Geometric, "sizes", never)
    with pytest.raises(UsageError) as error:
        config.read(file(tmp_path, written), {}, (), load(only=(), disabled=()))
    assert said in str(error.value)


def test_what_is_repeated_in_a_grid_counts_once(tmp_path):
    asked = config.read(file(tmp_path, f"variants = {['1L_8d_1tok'] * 400}\nsamples = {[4] * 400}\n"), {}, (),
                        load(only=(), disabled=()))
    assert (asked.variants, asked.samples) == (("1L_8d_1tok",), (4,))


def file(folder, text):
    path = folder / "run.toml"
    path.write_text(text)
    return path
