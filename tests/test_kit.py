"""The kit for authors of plugins: every first-party plugin passes, and every check fails on a wrong one."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

import benchmarks_path
import cvfp_analyses
import cvfp_laws
import cvfp_residual
import made_objectives
import published_laws
from cvfp_core import hookimpl, registry
from cvfp_core.errors import IngestError, PluginError, UsageError
from cvfp_core.registry.kinds import (
    Analysis,
    Corpus,
    CorpusSource,
    Fitter,
    Ingester,
    IngestOptions,
    Light,
    ModelSize,
    Option,
    Parameter,
    Quantity,
    Template,
    VariantFamily,
)
from cvfp_core.schema.cells import Variant
from cvfp_core.schema.claims import Finding
from cvfp_core.schema.fits import Estimate, Fit
from cvfp_core.schema.found import FoundRun, NotUnderstood, Tally
from cvfp_core.schema.records import Record, frame
from cvfp_core.testing import (
    analyses,
    check_analysis,
    check_corpus,
    check_fitter,
    check_ingester,
    check_light,
    check_template,
    check_variant,
    load_only,
)
from cvfp_core.testing.loading import holding

DATA = Path(__file__).parent / "data"
INSTALLED = registry.load(only=(), disabled=()).require_healthy()
torch.set_num_threads(1)  # products this small wait for threads longer than they compute


def every(kind):
    """All installed items of a kind, with their names as ids."""
    found = INSTALLED.items(kind)
    return pytest.mark.parametrize("item", found.values(), ids=found)


def fails(check: Callable[[], None], *said: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check()
    text = str(caught.value)
    assert "\n" not in text
    for each in said:
        assert each in text


# --- loading --------------------------------------------------------------------------------------------------------

def test_load_only_loads_what_is_given_and_nothing_else():
    found = load_only(cvfp_residual)
    assert [(each.name, each.distribution) for each in found.plugins] == [("residual", "cvfp")]
    assert list(found.items(VariantFamily)) == ["residual"]
    assert not found.items(Fitter)


def module(**hooks):
    made = ModuleType("stranger")
    vars(made).update(hooks)
    return made


def test_load_only_loads_a_module_beside_installed_plugins_and_an_object_too():
    mine = module(cvfp_fitters=hookimpl(lambda: [LINE]))
    found = load_only(mine, SimpleNamespace(cvfp_run_started=hookimpl(lambda: None)), beside=["laws"])
    assert {"line", "power-law"} <= set(found.items(Fitter))
    assert found.owner(Fitter, "line").label == "plugin 'stranger' (not installed ?)"
    with pytest.raises(UsageError, match="unknown plugin 'law'; did you mean 'laws'"):
        load_only(mine, beside=["law"])


@pytest.mark.parametrize(("hooks", "said"), [
    ({"cvfp_fiters": lambda: []}, "there is no hook 'cvfp_fiters'; did you mean 'cvfp_fitters'?"),
    ({"cvfp_fitters": lambda: []}, "'cvfp_fitters' lacks its decorator @hookimpl"),
    ({"cvfp_fitters": hookimpl(lambda: ["line"])}, "must return values of Law, not str"),
    ({"cvfp_fitters": hookimpl(lambda: [LINE, LINE])}, "law 'line' is registered more than once"),
])
def test_load_only_refuses_what_the_registry_refuses(hooks, said):
    with pytest.raises(PluginError) as caught:
        load_only(module(**hooks))
    assert said in str(caught.value)


def test_the_kit_needs_no_test_framework_and_is_light_until_a_check_runs(tmp_path):
    code = """
import sys
sys.modules["pytest"] = None
import cvfp_core.testing
print(*{name.partition(".")[0] for name in sys.modules})
import cvfp_core.testing.analyses, cvfp_core.testing.corpora, cvfp_core.testing.fitters, cvfp_core.testing.ingesters
import cvfp_core.testing.templates, cvfp_core.testing.variants
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True, check=True,
                          timeout=900)
    assert not set(done.stdout.split()) & {"torch", "polars", "numpy", "scipy", "lmfit", "matplotlib"}


# --- entry modules --------------------------------------------------------------------------------------------------

LIGHT_MODULE = """from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Preset

def later():
    import numpy
    return numpy

@hookimpl
def cvfp_presets():
    return [Preset(name="made", title="made", overrides={})]
"""


@pytest.mark.parametrize(("code", "said"), [
    ("import numpy\n" + LIGHT_MODULE, "found numpy"),
    (LIGHT_MODULE.replace("    return [", "    import polars\n    return ["), "found polars"),
    ("1 / 0\n", "found ZeroDivisionError: division by zero"),
    ("def cvfp_fiters():\n    return []\n", "there is no hook 'cvfp_fiters'"),
])
def test_an_entry_module_that_is_heavy_or_cannot_be_loaded_fails(code, said, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "made_heavy.py").write_text(code)
    fails(lambda: check_light(ModuleType("made_heavy")), "plugin module 'made_heavy', loaded with its hooks", said)


def test_an_entry_module_that_imports_when_something_is_used_passes(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "made_light.py").write_text(LIGHT_MODULE)
    check_light(ModuleType("made_light"))


# --- variants -------------------------------------------------------------------------------------------------------

VARIANTS = {
    "residual": [("1L_16d_1tok", {}), ("3L_12d_2tok", {"feed_forward": "gelu"}), ("2L_8d_1tok", {"num_splits": 2})],
    "transformer": [("transformer_1L_8d_4tok", {}), ("transformer_2L_8d_3tok", {"heads": 2, "match": "2L_32d_1tok"})],
}


@every(VariantFamily)
def test_every_family_passes(item):
    for name, options in VARIANTS[item.name]:
        check_variant(item, name, options=options)


class Plain(nn.Module):
    """A model of one context and one token layer, right in every way; tests break one thing each."""

    def __init__(self, variant, _options, embeddings, generator):
        super().__init__()
        width, dim = embeddings.shape[1], variant.context_dim
        self.register_buffer("table", torch.cat([embeddings, torch.zeros(1, width)]))

        def weight(*shape):
            return nn.Parameter(0.3 * torch.randn(*shape, generator=generator))

        self.context, self.token, self.out = weight(dim, dim), weight(width, dim), weight(dim + width, width)

    def contexts(self, previous, windows):
        return [torch.tanh(previous @ self.context + self.table[windows[:, -1]] @ self.token)]

    def hidden(self, contexts, windows):
        return torch.cat([contexts[-1], self.table[windows[:, -1]]], dim=1) @ self.out

    def phase1_parameters(self):
        return [self.context, self.token]

    def phase2_parameters(self):
        return [self.out]


class OtherGroup(Plain):
    def phase2_parameters(self):
        return [self.out, self.context]


class Forgotten(Plain):
    def phase1_parameters(self):
        return [self.context]


class Meddling(Plain):
    """Predicting moves the contexts' weights."""

    def hidden(self, contexts, windows):
        if torch.is_grad_enabled():
            with torch.no_grad():
                self.context.mul_(0.99)
        return super().hidden(contexts, windows)


class Backwards(Plain):
    """Sweeping contexts moves the weights of the prediction."""

    def contexts(self, previous, windows):
        if torch.is_grad_enabled():
            with torch.no_grad():
                self.out.mul_(0.99)
        return super().contexts(previous, windows)


class Unseeded(Plain):
    def __init__(self, variant, options, embeddings, generator):
        del generator
        super().__init__(variant, options, embeddings, torch.Generator().manual_seed(torch.seed()))


class Constant(Plain):
    def __init__(self, variant, options, embeddings, generator):
        del generator
        super().__init__(variant, options, embeddings, torch.Generator().manual_seed(5))


class Global(Plain):
    def __init__(self, variant, options, embeddings, generator):
        super().__init__(variant, options, embeddings, generator)
        nn.Linear(3, 3)


class Measuring(Plain):
    """Reports a quantity that nobody declared."""

    def metrics(self):
        return {"bias": 0.5}


class Narrow(Plain):
    def hidden(self, contexts, windows):
        return super().hidden(contexts, windows)[:, :-1]


class Batched(Plain):
    def hidden(self, contexts, windows):
        made = super().hidden(contexts, windows)
        return made - made.mean(dim=0)


class Deaf(Plain):
    """Phase 1 gets the gradient of something else: the loss rises."""

    def contexts(self, previous, windows):
        (made,) = super().contexts(previous, windows)
        return [2 * made.detach() - made]


class Single(Plain):
    """float32 whatever the machine is told: fails under autocast."""

    def hidden(self, contexts, windows):
        made = super().hidden(contexts, windows)
        if made.dtype != torch.float32:
            raise TypeError("no bfloat16 here")
        return made


class Lazy(Plain):
    def __init__(self, variant, options, embeddings, generator):
        super().__init__(variant, options, embeddings, generator)
        self.spare = nn.Parameter(torch.zeros(2))

    def phase2_parameters(self):
        return [self.out, self.spare]


class Careless(Plain):
    """Other contexts while tokens are shared."""

    factor = 1.0

    @contextmanager
    def sharing(self, tokens):
        del tokens
        self.factor = 1.1
        yield
        self.factor = 1.0

    def contexts(self, previous, windows):
        return [self.factor * made for made in super().contexts(previous, windows)]


class Overwriting(Plain):
    """Saves memory by writing into the contexts it reads."""

    def hidden(self, contexts, windows):
        return super().hidden(contexts.mul_(0.5), windows)


class OverwritingLater(Plain):
    """The same of the previous contexts, when it learns."""

    def contexts(self, previous, windows):
        return super().contexts(previous.mul_(0.5) if torch.is_grad_enabled() else previous, windows)


class OverwritingCopy(Plain):
    """What is written into is its own."""

    def hidden(self, contexts, windows):
        return super().hidden(contexts.clone().mul_(0.5), windows)


class NeedsContexts(Plain):
    def hidden(self, contexts, windows):
        if not contexts.any():
            raise ValueError("no contexts")
        return super().hidden(contexts, windows)


class Bigrams(Plain):
    """A one-phase model."""

    def __init__(self, variant, options, embeddings, generator):
        super().__init__(variant, options, embeddings, generator)
        del self.context, self.token

    def contexts(self, _previous, _windows):
        return []

    def hidden(self, contexts, windows):
        assert contexts.shape[0] == 0
        return self.table[windows[:, -1]] @ self.out[-self.table.shape[1]:]

    def phase1_parameters(self):
        return []


def family(build, **changed):
    return VariantFamily(**{"name": "mine", "title": "made", "form": "mine_{L}L_{d}d_{T}tok", "build": build, "parse":
                            lambda name: Variant.parse(name, family="mine", prefix="mine_"), **changed})


def test_a_family_that_is_right_passes_with_one_phase_or_two():
    check_variant(family(Plain), "mine_1L_10d_2tok")
    check_variant(family(Bigrams, phases=1), "mine_1L_10d_1tok")
    check_variant(family(OverwritingCopy), "mine_1L_10d_1tok")


@pytest.mark.parametrize(("model", "said"), [
    (OtherGroup, "parameters in both groups: expected none, found context"),
    (Forgotten, "in neither group: token"),
    (Meddling, "what Phase 2 changed: expected parameters of phase 2 only, found also context"),
    (Backwards, "what Phase 1 changed: expected parameters of phase 1 only, found also out"),
    (Constant, "built with another seed: expected other weights, found the same"),
    (Global, "torch's global generator"),
    (Narrow, "hidden vectors of 6 tokens: expected (6, 8), found (6, 7)"),
    (Batched, "a token computed alone and among others: expected the same"),
    (Deaf, "loss of Phase 1 after 12 iterations: expected below"),
    (Single, "a run in bfloat16: expected no exception, found TypeError: no bfloat16 here"),
    (Careless, "run with the shortcuts, of which `sharing` is the model's: expected the perplexity without them"),
    (Overwriting, "what `hidden` is given: expected it stays as it was, found other contexts"),
    (OverwritingLater, "what `contexts` is given: expected it stays as it was, found other contexts"),
    (NeedsContexts, "a run in float32, phase1.mode=zero-context: expected no exception, found ValueError: no contexts"),
    (Lazy, "all of them learn in Phase 2, found no change of spare"),
    (Bigrams, "the group of phase 1: expected some parameters"),
    (Measuring, "what its metrics() returns: expected values of quantities that a plugin declares, in range, found the "
                "model's metric 'bias' is left out: no plugin declares it"),
])
def test_a_family_that_is_wrong_fails_and_the_message_says_what_about(model, said):
    fails(lambda: check_variant(family(model), "mine_1L_10d_1tok"), "variant 'mine_1L_10d_1tok' of family 'mine'", said)


def test_what_a_model_measures_must_be_declared_and_in_range():
    check_variant(family(Measuring), "mine_1L_10d_1tok", quantities=[Quantity(name="bias", maximum=1)])
    fails(lambda: check_variant(family(Measuring), "mine_1L_10d_1tok", quantities=[Quantity(name="bias", maximum=0)]),
          "it must be at most 0, found 0.5")


def test_weights_drawn_without_the_seed_fail():
    with torch.random.fork_rng():
        fails(lambda: check_variant(family(Unseeded), "mine_1L_10d_1tok"), "built twice with one seed")


def test_a_size_that_is_not_the_models_fails():
    fails(lambda: check_variant(family(Plain, size=lambda *_: ModelSize(params_phase1=1, params_phase2=2)),
                                "mine_1L_10d_1tok"),
          "parameters of the size that the family declares: expected those of the model", "found (1, 2)")


def test_a_family_that_answers_to_any_name_fails():
    greedy = family(Plain, parse=lambda name: Variant(name=name, family="mine", num_layers=1, context_dim=8,
                                                      num_input_tokens=1))
    fails(lambda: check_variant(greedy, "mine_1L_10d_1tok"), "family 'mine' parses ''", "expected None")
    other = family(Plain, parse=lambda name: Variant.parse(name, family="yours", prefix="mine_"))
    fails(lambda: check_variant(other, "mine_1L_10d_1tok"), "family 'mine', found 'mine_1L_10d_1tok' of 'yours'")


def test_an_option_the_family_does_not_have_is_a_usage_error():
    with pytest.raises(UsageError, match=r"unknown key 'model\.depth'; known: none"):
        check_variant(family(Plain), "mine_1L_10d_1tok", options={"depth": 3})


# --- corpora --------------------------------------------------------------------------------------------------------

CORPORA = {
    "embedded": ({"max_documents": 20}, [{"max_documents": 20, "split_seed": 1}, {"max_documents": 9}]),
    "text": ({"path": "lines.txt"}, [{"path": "lines.txt", "document_characters": 200}]),
    "jsonl": ({"path": "lines.jsonl"}, [{"path": "lines.jsonl", "order": "kept"}]),
    "hf": ({"dataset": "lines.jsonl"}, [{"dataset": "lines.jsonl", "embeddings": "random"}]),
    "ultrachat": ({"dataset": "lines.jsonl", "split": "train", "field": "text"}, []),
}
"""Options of each corpus, and others that give another one; files stand in a folder of the test's."""
SMALL_CORPUS = {"vocab_size": 280, "embed_dim": 8, "validation": 4, "tokenizer": "bpe", "embeddings": "ppmi"}


@every(CorpusSource)
def test_every_corpus_passes(item, tmp_path, monkeypatch):
    texts = [f"Line {i} is about the number {i * i}, and about nothing else in the world." for i in range(24)]
    (tmp_path / "lines.txt").write_text("\n\n".join(texts))
    (tmp_path / "lines.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    monkeypatch.chdir(tmp_path)
    options, others = CORPORA[item.name]
    check_corpus(item, options=SMALL_CORPUS | options, others=[SMALL_CORPUS | each for each in others])


def tokens_of(options, _cache):
    """Two documents of counting, right in every way; tests break one thing each."""
    count = options["count"]
    return Corpus(
        name="made", tokenizer="none", vocab_size=count, train_tokens=np.tile(np.arange(count, dtype=np.int32), 2),
        document_ends=np.array([count, 2 * count]), val_tokens=np.arange(count, dtype=np.int32),
        embeddings=np.eye(count, dtype=np.float32), hash=f"made {count}",
    )


def corpus(load=tokens_of):
    return CorpusSource(name="mine", title="made", load=load, options=(Option(name="count", default=7, help=""),))


def but(**changed):
    """The corpus with a field changed, or computed from the right one."""
    def load(options, cache):
        right = tokens_of(options, cache)
        return replace(right, **{name: value(right) if callable(value) else value for name, value in changed.items()})
    return load


def leaves_a_mark(options, cache):
    """Another corpus once it has been in a cache."""
    cache.mkdir(exist_ok=True)
    seen = (cache / "mark").exists()
    (cache / "mark").touch()
    return replace(tokens_of(options, cache), val_tokens=np.arange(6 if seen else 7, dtype=np.int32))


def test_a_corpus_that_is_right_passes():
    check_corpus(corpus(), others=[{"count": 8}, {"count": 9}])


@pytest.mark.parametrize(("load", "said"), [
    (lambda _options, _cache: "text", "bad data: it must be a Corpus, not str"),
    (lambda _options, _cache: 1 / 0, "failed: ZeroDivisionError: division by zero"),
    (but(train_tokens=lambda right: right.train_tokens.astype(np.int64)),
     "train_tokens: expected numbers of type int32, found int64"),
    (but(val_tokens=[1, 2]), "bad data: val_tokens must be whole numbers in one dimension, not list"),
    (but(embeddings=lambda right: right.embeddings[:, 0]), "bad data: embeddings must be floats (7, embed_dim), not"),
    (but(embeddings=lambda right: right.embeddings[:-1]), "floats (7, embed_dim), not float32 (6, 7)"),
    (but(embeddings=lambda right: right.embeddings / 0), "bad data: embeddings must be finite"),
    (but(val_tokens=lambda right: right.val_tokens + 1), "val_tokens must be ids from 0 to 6, and go from 1 to 7"),
    (but(train_tokens=lambda right: right.train_tokens - 1), "must be ids from 0 to 6, and go from -1 to 5"),
    (but(val_tokens=lambda right: right.val_tokens[:1]), "val_tokens must hold at least 2, not 1"),
    (but(document_ends=lambda right: right.document_ends[:0]), "document_ends must hold at least 1, not 0"),
    (but(document_ends=np.array([14, 7])), "document_ends must rise from above 0 to at most 14"),
    (but(document_ends=np.array([0, 14])), "document_ends must rise from above 0"),
    (but(document_ends=np.array([7, 13])), "last of document_ends: expected the number of train_tokens, 14, found 13"),
    (but(hash=""), "bad data: hash must be a text, not ''"),
    (but(val_repeated=12.0), "val_repeated: expected a fraction from 0 to 1, or None, found 12.0"),
    (but(hash=lambda _right: str(np.random.default_rng().random())), "loaded again with the same cache: expected the"),
    (leaves_a_mark, "loaded again with the same cache: expected the same corpus, found other val_tokens"),
    (but(val_tokens=lambda _right: np.random.permutation(7).astype(np.int32)), "found other val_tokens"),
    (but(hash="one"), "hash with {'count': 8}: expected another than with {}, found the same"),
], ids=range(20))
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_a_corpus_that_is_wrong_fails_and_the_message_says_what_about(load, said):
    fails(lambda: check_corpus(corpus(load), others=[{"count": 8}]), "corpus 'mine'", said)


def test_an_option_the_corpus_does_not_have_is_a_usage_error():
    with pytest.raises(UsageError, match=r"unknown key 'corpus\.size'"):
        check_corpus(corpus(), options={"size": 3})


# --- ingesters ------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Input:
    """What an ingester is shown, a file of the tests' data or one made on the spot, and the runs in it."""

    path: str
    runs: int


INPUTS = {
    "newllm-folder": Input("newllm/0101_v9", 2), "newllm-log": Input("newllm/algorithms.txt", 2),
    "newllm-json": Input("newllm/0101_v9/detailed_results.json", 2), "csv": Input("made.csv", 4),
    "json": Input("made.json", 4), "jsonl": Input("made.jsonl", 4),
    "parquet": Input("made.parquet", 4), "wandb-runs": Input("tables/wandb_runs.csv", 2),
    "wandb-history": Input("tables/wandb_history.csv", 2), "tensorboard": Input("made.tfevents", 1),
    "trainer-state": Input("trainers/tiny-gpt/checkpoint-20/trainer_state.json", 1),
    "mlflow": Input("made.mlflow", 2), "trackio": Input("made.trackio", 2),
    "wandb-folder": Input("trackers/run-20260102_030405-ab12cd34", 1),
    "lm-eval": Input("trackers/results_2026-01-05T10-00-00.json", 1),
    "nanogpt": Input("console/nanogpt.log", 1), "build-nanogpt": Input("console/build_nanogpt.log", 1),
    "build-nanogpt-log": Input("console/build_nanogpt_log.txt", 1),
    "modded-nanogpt": Input("console/modded_nanogpt.txt", 1), "nanochat": Input("console/nanochat.log", 1),
    "llm-c": Input("console/llm_c.log", 1), "llm-c-log": Input("console/llm_c_main.log", 1),
    "megatron": Input("console/megatron.log", 1), "torchtitan": Input("console/torchtitan.log", 1),
    "olmo": Input("console/olmo_core.log", 1), "composer": Input("console/composer.log", 1),
    "hf-console": Input("console/hf_console.log", 1),
}


def made_input(name, folder):
    """The input of that name, written into the folder if it is none of the tests' data."""
    if not name.startswith("made."):
        return DATA / name
    path = folder / name
    if path.suffix == ".tfevents":
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        with path.open("wb") as file:
            writer = RecordWriter(file)
            writer.write(Event(wall_time=1.0, file_version="brain.Event:2").SerializeToString())
            for step in range(1, 6):
                value = Summary.Value(tag="eval/loss", simple_value=3 - 0.1 * step)
                writer.write(Event(wall_time=1.0, step=step, summary=Summary(value=[value])).SerializeToString())
        return path
    if path.suffix in (".mlflow", ".trackio"):
        import sqlite3
        from contextlib import closing

        from test_ingest_trainers import MLFLOW, TRACKIO

        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(MLFLOW if path.suffix == ".mlflow" else TRACKIO.replace(
                """, (4, 't', 'small', 3, '{"val":')""", ""))
        return path
    table = analyses.null_data(0).head(4).select("variant", "seed", "num_samples", "train_tokens", "val_er", "val_ppl")
    write = {".csv": table.write_csv, ".json": table.write_json, ".jsonl": table.write_ndjson,
             ".parquet": table.write_parquet}
    write[path.suffix](path)
    return path


@every(Ingester)
def test_every_ingester_passes(item, tmp_path):
    given = INPUTS[item.name]
    check_ingester(item, made_input(given.path, tmp_path), runs=given.runs)


LOG = "mine\nrun 1L_8d_1tok 100 30.5\nrun 1L_8d_1tok 200 25.5\n\n"


def read_mine(path, _options):
    """Lines `run VARIANT TOKENS PPL` after a first line `mine`; empty lines say nothing."""
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        match line.split():
            case ["run", variant, tokens, ppl] if tokens.isdecimal() and ppl.replace(".", "", 1).isdecimal():
                yield FoundRun(line=number, columns={"variant": variant, "train_tokens": int(tokens),
                                                     "val_ppl": float(ppl)})
                yield Tally(record=1)
            case [] | ["mine"]:
                yield Tally(noise=1)
            case _:
                yield NotUnderstood(line=number, expected="a run", found=line)


def mine(**changed):
    return Ingester(**{"name": "mine", "title": "made", "read": read_mine, "matches":
                       lambda _path, head: head is not None and head.startswith(b"mine\n"), **changed})


def drops_a_line(path, options):
    yield from (item for item in read_mine(path, options) if item != Tally(noise=1))


def trusts_its_input(path, _options):
    for number, line in enumerate(path.read_text(errors="replace").splitlines()[1:], start=2):
        _, variant, tokens, ppl = line.split() or ["", "", "0", "0"]
        if variant:
            columns = {"variant": variant, "train_tokens": int(tokens), "val_ppl": float(ppl)}
            yield FoundRun(line=number, columns=columns)
        yield Tally(record=1)
    yield Tally(noise=1)


def says_too_much(path, options):
    content = path.read_bytes()
    if len(content) < len(LOG):
        raise IngestError(1, "more", "two\nlines")
    return read_mine(path, options)


def ids_by_chance(path, options):
    for item in read_mine(path, options):
        if isinstance(item, FoundRun):
            yield replace(item, columns={**item.columns, "val_acc": float(np.random.default_rng().random())})
        else:
            yield item


def percent(path, options):
    for item in read_mine(path, options):
        yield replace(item, columns={**item.columns, "val_er": 81.5}) if isinstance(item, FoundRun) else item


@pytest.mark.parametrize(("wrong", "said"), [
    ({"matches": lambda _path, head: head is not None}, "looks at an empty file called log.txt: expected"),
    ({"matches": lambda _path, head: head is not None and b"\n" in head}, "looks at random bytes"),
    ({"matches": lambda _path, _head: False}, "looks at log.txt: expected it knows the content"),
    ({"matches": lambda _path, head: head.startswith(b"mine")}, "found AttributeError"),
    ({"read": lambda _path, _options: iter(())}, "expected at least 1 run, found 0"),
    ({"read": drops_a_line}, "expected 4 lines accounted for, as record, curve or noise, found 2"),
    ({"read": lambda path, options: [*read_mine(path, options), NotUnderstood(line=9, expected="a", found="b")]},
     "every line understood, and every record through the gate, found 1 that are not: log.txt:9: expected a, found b"),
    ({"read": percent}, "'val_er' must be a fraction from 0 to 1, found 81.5"),
    ({"read": trusts_its_input}, "expected no exception, found ValueError: not enough values"),
    ({"read": says_too_much}, "expected messages of one line"),
    ({"read": ids_by_chance}, "reads log.txt twice: expected the run ids"),
], ids=range(11))
def test_an_ingester_that_is_wrong_fails_and_the_message_says_what_about(wrong, said, tmp_path):
    log = tmp_path / "log.txt"
    log.write_text(LOG)
    check_ingester(mine(), log, runs=2)
    fails(lambda: check_ingester(mine(**wrong), log), "ingester 'mine'", said)


def test_what_a_user_says_of_the_input_is_said_to_the_ingester(tmp_path):
    rows = (DATA / "tables" / "runs.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    table = tmp_path / "runs.csv"
    table.write_text("".join(row for row in rows if "no tokens" not in row), encoding="utf-8")
    check_ingester(INSTALLED.get(Ingester, "csv"), table, options=IngestOptions(
        experiment="e", mapping={"variant": "model"}))


def test_another_number_of_runs_or_lines_than_stated_fails(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text(LOG)
    fails(lambda: check_ingester(mine(), log, runs=3), "expected 3 runs, found 2")
    fails(lambda: check_ingester(mine(), log, lines=5), "expected 5 lines accounted for")


# --- fitters --------------------------------------------------------------------------------------------------------

def er_inputs():
    rng = np.random.default_rng(0)
    return {"train_tokens": np.tile(np.geomspace(1e4, 1e6, 6), 4),
            "val_er": np.repeat([0.6, 0.7, 0.8, 0.85], 6) + rng.normal(0, 0.01, 24)}


LAWS = {
    "power-law": {"parameters": {"A": 1e5, "alpha": -0.5}, "unit_free": ["alpha"]},
    "saturating": {"parameters": {"E": 90.0, "A": 1e6, "alpha": -0.7}, "unit_free": ["E", "alpha"]},
    "exp-decay": {"parameters": {"E": 80.0, "A": 1e4, "b": 0.2, "c": 0.3}, "unit_free": ["E", "A", "c"],
                  "data_sets": 6},
    "hill": {"parameters": {"E": 60.0, "A": 900.0, "t0": 2e5, "b": 0.9}, "unit_free": ["E", "b"], "data_sets": 20},
    "pinned-floor": {"parameters": {"E": 90.0, "A": 1e6, "alpha": -0.7}, "unit_free": ["E", "alpha"],
                     "data_sets": 20},
    "sliding-window": {
        "parameters": {"A": 1e5, "alpha": -0.5}, "law": lambda train_tokens, A, alpha: A * train_tokens**alpha,
        "expected": {"alpha 1": -0.5, "alpha 9": -0.5, "change": 0.0, "curvature": 0.0},
        "unit_free": ["alpha 1", "change", "curvature"],
    },
    "log-linear-er": {
        "parameters": {"alpha": -0.5, "beta": -0.02, "gamma": 13.0}, "inputs": er_inputs(),
        "law": lambda train_tokens, val_er, alpha, beta, gamma: np.exp(
            alpha * np.log(train_tokens) + beta * 100 * val_er + gamma),
        "unit_free": ["alpha", "beta"],
    },
    "linear-er": {
        "parameters": {"a": 500.0, "b": -4.0}, "inputs": {"val_er": er_inputs()["val_er"]},
        "law": lambda val_er, a, b: a + b * 100 * val_er, "unit_free": ["a"],
    },
    "new-configuration": {
        "parameters": {"alpha": -0.5, "beta": -2.0}, "variants": np.repeat(list("abcdefgh"), 3).tolist(),
        "inputs": {"train_tokens": np.tile(np.geomspace(1e4, 1e6, 3), 8),
                   "val_er": np.repeat(np.linspace(0.6, 0.9, 8)[[3, 0, 6, 2, 7, 5, 1, 4]], 3)},
        "law": lambda train_tokens, val_er, alpha, beta: 1e6 * train_tokens**alpha * np.exp(beta * val_er),
        "unit_free": ["alpha", "beta"], "data_sets": 20,
    },
    "ceiling": {"parameters": {"E": 0.6, "A": 20.0, "alpha": -0.4}, "unit_free": ["E", "alpha"]},
    "chinchilla": {
        "parameters": {"E": 1.7, "A": 400.0, "alpha": 0.34, "B": 410.0, "beta": 0.28},
        "inputs": {"params": np.tile(np.geomspace(1e5, 1e7, 5), 5),
                   "train_tokens": np.repeat(np.geomspace(1e4, 1e6, 5), 5)},
        "unit_free": ["E", "alpha", "beta"], "data_sets": 10,
    },
}


LAWS |= {name: {"parameters": parameters, "inputs": inputs, "data_sets": 4}
         for name, (parameters, inputs) in published_laws.TRUTHS.items()}


SECONDS = {"chinchilla", "ceiling", "exp-decay", "pinned-floor", "lights", "layers", "context-dim", "groups", "er-term",
           "alpha-change", "phase1-to-ppl"}
"""Laws, analyses and templates whose checks take seconds each."""


@pytest.mark.parametrize("item", [
    pytest.param(law, id=name, marks=[pytest.mark.slow] if name in {*published_laws.TRUTHS, *SECONDS} else [])
    for name, law in INSTALLED.items(Fitter).items()])
def test_every_fitter_passes(item):
    check_fitter(item, **LAWS[item.name])


POWER = cvfp_laws.POWER_LAW
LINE = Fitter(name="line", title="made", form="PPL = A * tokens^alpha", parameters=POWER.parameters,
              function=POWER.function, linear=("A",), starts=POWER.starts)
TRUE = {"A": 1e5, "alpha": -0.5}


def own(change):
    """A fitter with code of its own: least squares in logarithms, with one thing changed in its one fit."""
    def fit(points, _options):
        x, y = np.log(points.inputs["train_tokens"]), np.log(points.response)
        (alpha, level), spread = np.polyfit(x - x.mean(), y, 1, cov="unscaled") if len(x) > 2 else ((-1.0, 0.0), None)
        if spread is None:
            return [Fit(law="own", form="", series="s", status="too few points", reason="add one")]
        rss = float(np.square(y - level - alpha * (x - x.mean())).sum())
        half = 2.23 * np.sqrt(rss / (len(x) - 2) * spread[0, 0])
        made = Fit(law="own", form="", series="s", status="converged", rss=rss, n=len(x), estimates=(
            Estimate(name="alpha", value=float(alpha), low=alpha - half, high=alpha + half, method="t"),))
        return [change(made, points)]

    return replace(LINE, name="own", function=None, linear=(), starts=None, fit=fit)


def shifted(by, half=1.0):
    def change(fit, _points):
        (alpha,) = fit.estimates
        middle, width = alpha.value + by, (alpha.high - alpha.value) * half
        return replace(fit, estimates=(replace(alpha, value=middle, low=middle - width, high=middle + width),))
    return change


def knows_one_unit(fit, points):
    return fit if points.sizes[-1] > 1e6 else shifted(0.01)(fit, points)


def without_interval(fit, _points):
    return replace(fit, estimates=tuple(replace(each, low=None, high=None, method=None) for each in fit.estimates))


def silent(fit, points):
    return replace(fit, status="failed", estimates=(), reason="") if points.response.max() > 1e9 else fit


def divides(fit, points):
    return fit if points.response.max() < 1e9 else 1 / 0


CHECKED = {"parameters": TRUE, "law": POWER.function, "expected": {"alpha": -0.5}, "unit_free": ["alpha"]}


def test_a_fitter_that_is_right_passes_whether_a_curve_or_code_of_its_own():
    check_fitter(LINE, TRUE, unit_free=["alpha"], data_sets=10)
    check_fitter(own(lambda fit, _points: fit), **CHECKED)


@pytest.mark.parametrize(("change", "said"), [
    (shifted(0.01), "without noise: alpha: expected -0.5 within 0.001 of it, found -0.49"),
    (shifted(0.0, half=0.2), "95 % intervals of alpha that contain -0.5: expected at least 33, found"),
    (without_interval, "alpha: expected an interval, with the method it comes from"),
    (knows_one_unit, "train_tokens in thousands: alpha: expected -0."),
    (silent, "a huge response: status 'failed': expected a reason, found none"),
    (divides, "a huge response: expected no exception, found ZeroDivisionError"),
    (lambda fit, _points: replace(fit, sigma=float("nan")), "expected finite numbers, or None, found {'sigma': nan}"),
    (lambda fit, _points: replace(fit, estimates=()), "estimates, found status 'converged'"),
])
def test_a_fitter_that_is_wrong_fails_and_the_message_says_what_about(change, said):
    fails(lambda: check_fitter(own(change), **CHECKED), "law 'own'", said)


def test_a_fitter_that_never_refuses_fails():
    def fit(_points, _options):
        return [Fit(law="own", form="", series="s", status="converged", estimates=(
            Estimate(name="alpha", value=-0.5, low=-0.6, high=-0.4, method="t"),))]

    bold = replace(LINE, name="own", function=None, linear=(), starts=None, fit=fit, scope="records", minimum_points=1)
    fails(lambda: check_fitter(bold, **CHECKED), "all runs of one size: expected another status than converged")


def test_a_fitter_whose_function_knows_one_unit_fails():
    stuck = replace(LINE, name="stuck", parameters=(
        Parameter(name="A", minimum=1e4, maximum=2e5), Parameter(name="alpha", minimum=-2, maximum=0)), linear=(),
        starts=None)
    fails(lambda: check_fitter(stuck, TRUE, unit_free=["alpha"], data_sets=2), "in thousands: status: expected conv",
          "found at a bound")


def test_what_a_check_of_a_fitter_needs_and_is_not_given_is_a_usage_error():
    with pytest.raises(UsageError, match="is a law of val_er: give inputs for these columns"):
        check_fitter(INSTALLED.get(Fitter, "linear-er"), {"a": 1.0, "b": 1.0})
    with pytest.raises(UsageError, match="has no function: give law="):
        check_fitter(INSTALLED.get(Fitter, "sliding-window"), TRUE)
    with pytest.raises(UsageError, match="not positive and finite"):
        check_fitter(LINE, {"A": -1.0, "alpha": -0.5})
    fails(lambda: check_fitter(LINE, TRUE, expected={"beta": 1.0}), "estimate 'beta': expected one of that name, found "
          "only A, alpha")


# --- analyses -------------------------------------------------------------------------------------------------------

CLAIMS = {
    "er-term": {"prediction": ["supported"]},
    "er-constant": {"constant": ["contradicted"]}, "er-gap": {"gap": ["supported"]},
    "grid": {"repeats": ["contradicted"], "missing": ["contradicted"]}, "unigram": {"unigram": ["supported"]},
    "objectives": {"order": ["contradicted"],
                   **{f"published: {name}": ["contradicted"] for name in ("sdl", "nuc", "odcm", "infonce", "unif")}},
}
"""Verdicts that are wrong where there is nothing, of claims that hold there, or whose opposite does."""
SIMULATION = benchmarks_path.controls()


def without_effect(seed):
    """Runs with controls, three seeds each, and the unigram perplexity; training Phase 1 does nothing."""
    return SIMULATION.records(0.0, 3, seed)


NULL = {"controls": without_effect, "unigram": without_effect,
        "objectives": lambda seed: frame(made_objectives.made(("sdl", "nuc", "odcm", "mcdl", "infonce", "unif"), seed))}


@pytest.mark.parametrize("item", [
    pytest.param(analysis, id=name, marks=[pytest.mark.slow] if name in SECONDS else [])
    for name, analysis in INSTALLED.items(Analysis).items()])
def test_every_analysis_passes(item):
    check_analysis(item, null=NULL.get(item.name), wrong=CLAIMS.get(item.name), data_sets=200, registry=INSTALLED)


def test_the_analysis_of_controls_fails_where_training_has_an_effect_after_all():
    fails(lambda: check_analysis(INSTALLED.get(Analysis, "controls"), registry=INSTALLED, data_sets=40,
                                 null=lambda seed: SIMULATION.records(-0.05, 3, seed)),
          "expected a wrong verdict in at most 7, as chance gives at 5%, found", "is supported: Training Phase 1")


@pytest.mark.parametrize(("name", "said"), [
    ("controls", "Training Phase 1 lowers the Val PPL, against a control."), ("unigram", "No run has unigram_ppl."),
])
def test_data_on_which_an_analysis_tests_nothing_are_a_usage_error(name, said):
    with pytest.raises(UsageError) as caught:
        check_analysis(INSTALLED.get(Analysis, name), data_sets=3, registry=INSTALLED)
    assert str(caught.value) == (f"analysis '{name}' tests nothing on 3 null data sets, so they check nothing; it says "
                                 f"{said}; give null=, which makes what it asks about")
    with pytest.raises(UsageError, match="it says nothing; give null="):
        check_analysis(asking(lambda _runs, _fits: []), data_sets=2)


def claim(verdict, p_value=0.001, **changed):
    return Finding(**{
        "analysis": "", "key": "k", "question": "Is it?", "claim": "It is {x}.", "values": {"x": 1}, "verdict": verdict,
        "estimate": 1.0, "low": 0.5, "high": 1.5, "unit": "", "n": 8, "method": "t", "p_value": p_value, **changed})


def asking(analyse, **changed):
    return Analysis(**{"name": "mine", "title": "Is it?", "analyse": analyse, **changed})


def sees_trends_in_noise(runs, _fits):
    """Correlates runs, of which those of one series are no independent evidence."""
    if runs.height < 4 or runs["val_er"].n_unique() < 2 or runs["context_dim"].n_unique() < 2:
        return [claim("inconclusive", None)]
    rho = np.corrcoef(runs["val_er"].to_numpy(), runs["context_dim"].to_numpy())[0, 1]
    t = rho * np.sqrt((runs.height - 2) / (1 - rho**2))
    from scipy import stats

    p = float(2 * stats.t.sf(abs(t), runs.height - 2))
    return [claim("supported" if p < 0.05 else "inconclusive", p)]


def test_an_analysis_that_finds_nothing_passes():
    check_analysis(asking(lambda _runs, _fits: [claim("inconclusive", 0.5)]), data_sets=5)
    true_of_all = asking(lambda _runs, _fits: [claim("supported")])
    check_analysis(true_of_all, wrong={"k": ["contradicted"]}, data_sets=5)


@pytest.mark.parametrize(("analyse", "said"), [
    (lambda _runs, _fits: [claim("supported")], "expected a wrong verdict in at most 7"),
    (sees_trends_in_noise, "'k' is supported: It is 1."),
    (lambda runs, _fits: [claim("inconclusive", 1 / (2 + runs["val_ppl"][0]))], "records in reverse order"),
    (lambda runs, _fits: [claim("inconclusive", estimate=1 / (runs.height - 1))],
     "1 record: expected no exception, found ZeroDivisionError"),
    (lambda _runs, _fits: [claim("inconclusive", values={})], "expected findings that can be printed, found"),
    (lambda runs, _fits: [claim("inconclusive", estimate=round(runs["val_er"].mean(), 3))],
     "nothing measured but what it needs: expected no exception, found TypeError"),
], ids=range(6))
def test_an_analysis_that_is_wrong_fails_and_the_message_says_what_about(analyse, said):
    fails(lambda: check_analysis(asking(analyse), data_sets=40), "analysis 'mine'", said)


def test_an_analysis_of_lights_is_given_those_there_are_and_checked_like_any_other():
    seen = []

    def ask(runs, lit):
        seen.append([light.name for light in lit])
        if runs.height == 1:
            raise KeyError("one")
        return [claim("inconclusive", 0.5)]

    wrong = Analysis(name="mine", title="Is it?", analyse_lights=ask)
    fails(lambda: check_analysis(wrong, data_sets=3, registry=INSTALLED), "1 record: expected no exception, found KeyE")
    assert seen[0] == list(INSTALLED.items(Light))
    both = replace(wrong, analyse=lambda _runs, _fits: [claim("inconclusive", key="j")],
                   analyse_lights=lambda _runs, _lit: [claim("inconclusive")])
    check_analysis(both, data_sets=3, wrong={"j": [], "k": []})


def test_an_analysis_that_asks_nothing_is_refused():
    with pytest.raises(ValueError, match="analysis 'mine': give `analyse`, or `analyse_lights`"):
        Analysis(name="mine", title="Is it?")


def test_null_data_without_an_effect_may_be_given():
    def null(seed):
        rng = np.random.default_rng(seed)
        return frame(Record(run_id=f"r{i}", experiment="e", variant=f"1L_{8 * (i + 1)}d_1tok", train_tokens=1000,
                            val_ppl=float(rng.uniform(50, 60)), val_acc=float(rng.uniform(0, 1))) for i in range(9))

    seen = []
    check_analysis(asking(lambda runs, _fits: seen.append(runs.height) or [claim("inconclusive", 0.5)],
                          columns=("val_acc",)), null=null, data_sets=3)
    assert max(seen) == 9
    fails(lambda: check_analysis(asking(lambda _runs, _fits: [claim("contradicted")]), null=null, data_sets=20),
          "at most 5, as chance gives at 5%, found 20")


def test_a_claim_or_a_law_that_is_not_there_is_a_usage_error():
    with pytest.raises(UsageError, match="has no finding j on null data; it has k"):
        check_analysis(asking(lambda _runs, _fits: [claim("inconclusive")]), wrong={"j": []}, data_sets=2)
    with pytest.raises(UsageError, match="reads laws that are not there: no-law"):
        check_analysis(asking(lambda _runs, _fits: [], laws=("no-law",)))
    with pytest.raises(UsageError, match="reads laws that are not there: power-law"):
        check_analysis(INSTALLED.get(Analysis, "alpha-er"), registry=load_only(cvfp_analyses))


def test_null_data_have_no_effect_of_one_metric_on_another():
    """Over many data sets, levels of variants correlate with nothing."""
    sets = [analyses.null_data(seed).filter(pl.col("train_tokens") == 62_500) for seed in range(60)]
    together = pl.concat(sets).with_columns(pl.col("val_ppl").log())
    for one, two in (("val_er", "val_ppl"), ("val_er", "train_er"), ("phase1_iterations", "val_ppl"),
                     ("train_ppl", "val_ppl"), ("context_dim", "val_er")):
        rho = together.select(pl.corr(one, two)).item()
        assert abs(rho) < 0.15, (one, two)


# --- templates ------------------------------------------------------------------------------------------------------

QUICK = {"power-law", "sliding-window", "log-linear-er", "linear-er"}
LIGHT = holding(*(item for kind in registry.HOOKS.values() for name, item in INSTALLED.items(kind).items()
                  if kind is not Fitter or name in QUICK))
"""All that is installed but for laws that take seconds."""


@pytest.mark.parametrize("item", [
    pytest.param(item, id=name, marks=[pytest.mark.slow] if name in SECONDS else [])
    for name, item in INSTALLED.items(Template).items() if name != "plan"])
def test_every_template_passes(item):  # a plan is of one series, for a target: tests/test_plan.py
    options = {"a": "null", "b": "other"} if item.name == "compare" else {}
    check_template(item, options=options, registry=LIGHT)


RIGHT = "{% if num_records %}{% for s in series %}{{ s.label }}{% endfor %}{% endif %}{{ _('Hello there') }}\n"


def template(folder, text, *, said=None, **changed):
    """A template with a German catalogue that says `said`; None: no catalogue."""
    file = folder / "mine.md.j2"
    file.write_text(text, encoding="utf-8")
    catalogue = None
    if said is not None:
        from babel.messages.catalog import Catalog
        from babel.messages.mofile import write_mo

        catalogue = folder / "locale"
        place = catalogue / "de" / "LC_MESSAGES"
        place.mkdir(parents=True)
        made = Catalog(locale="de")
        for message, translation in said.items():
            made.add(message, translation)
        with (place / "messages.mo").open("wb") as mo:
            write_mo(mo, made)
    return Template(**{"name": "mine", "title": "made", "path": file, "catalogue": catalogue, **changed})


def test_a_template_that_is_right_passes_with_a_catalogue_and_without(tmp_path):
    check_template(template(tmp_path, RIGHT), registry=LIGHT)
    check_template(template(tmp_path, RIGHT, said={"Hello there": "Guten Tag"}, needs=("val_er",)), registry=LIGHT)


EQUAL = RIGHT + "{{ _('Alpha') }} {% trans n=num_records %}{{ n }} Album{% pluralize %}{{ n }} Alben{% endtrans %}\n"
ALBUMS = ("%(n)s Album", "%(n)s Alben")
SAID = {"Hello there": "Guten Tag", "Alpha": "Alpha", ALBUMS: ALBUMS}
"""A German catalogue in which most is as in the source."""


def test_a_translation_that_equals_its_source_is_one(tmp_path):
    check_template(template(tmp_path, EQUAL, said=SAID), registry=LIGHT)


@pytest.mark.parametrize("missing", ["Alpha", ALBUMS])
def test_a_message_that_is_in_no_catalogue_is_missing_be_it_plural(missing, tmp_path):
    said = {message: text for message, text in SAID.items() if message != missing}
    first = missing if isinstance(missing, str) else missing[0]
    fails(lambda: check_template(template(tmp_path, EQUAL, said=said), registry=LIGHT),
          f"messages without a translation into 'de': expected none, found 1: '{first}'")


PROSE = "None of the runs converged. {{ _('None of them, nor a nan') }}: x\n"


def test_words_of_the_template_itself_are_no_slips_and_slips_beside_them_are(tmp_path):
    check_template(template(tmp_path, PROSE, said={"None of them, nor a nan": "None von ihnen"}), registry=LIGHT)
    wrong = PROSE + "{% for s in series %}{{ s.fit.p_value }} of the runs{% endfor %}"
    (tmp_path / "wrong").mkdir()
    fails(lambda: check_template(template(tmp_path / "wrong", wrong), registry=LIGHT), "expected text without None",
          "None of the runs")
    said = PROSE + "{% for s in series %}{% trans p=s.fit.p_value %}Of {{ p }}{% endtrans %}{% endfor %}"
    fails(lambda: check_template(template(tmp_path / "wrong", said), registry=LIGHT), "expected text without None")


@pytest.mark.parametrize(("text", "changed", "said"), [
    ("{% if num_records == 3 %}{{ nun_records }}{% endif %} x", {}, "names it uses: expected names of the view"),
    ("{% for s in series %}{{ s.alfa }}{% endfor %} x", {}, "full records: expected no exception, found"),
    ("{{ series[0].label }}", {}, "no records: expected no exception, found"),
    ("{% for s in series %}{{ '%.2f' % s.best.val_ppl }}{% endfor %} x", {}, "nothing measured but what it needs"),
    ("{% for s in series %}{{ s.best }}{% endfor %}", {}, "expected text without None"),
    ("{% if num_records %}x{% endif %}", {}, "no records: expected text, found none"),
    (RIGHT, {"said": {"Hello": "Guten Tag"}}, "without a translation into 'de': expected none, found 1: 'Hello there'"),
    ("{% for s in series %}", {}, "read: expected no exception, found"),
    (RIGHT, {"needs": ("val_err",)}, "what it needs: expected record columns, found val_err"),
    ("{{ 1 / num_records }}", {}, "no records: expected no exception, found"),
    ("{{ range(1000) | random }}", {}, "rendered twice: expected the same text"),
], ids=range(11))
def test_a_template_that_is_wrong_fails_and_the_message_says_what_about(text, changed, said, tmp_path):
    fails(lambda: check_template(template(tmp_path, text, **changed), registry=LIGHT), "template 'mine'", said)


def test_options_of_a_template_are_those_it_declares(tmp_path):
    asked = template(tmp_path, "{{ options.title }}", options=(Option(name="title", default="x", help=""),))
    check_template(asked, options={"title": "Mine"}, registry=LIGHT)
    fails(lambda: check_template(asked, options={"titel": "Mine"}, registry=LIGHT), "has no option 'titel'")
