"""A cell from end to end: against the plain protocol, its controls, its divergences and its determinism."""

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import nn

import plain_protocol as plain
from cvfp_core.protocol.record import unigram_perplexity
from cvfp_core.protocol.run import run_cell, run_flops
from cvfp_core.registry.kinds import VariantFamily
from cvfp_core.schema import store
from cvfp_core.schema.quantities import Quantity
from cvfp_core.schema.records import conform, frame
from cvfp_core.schema.settings import Shortcuts
from made_runs import RESIDUAL, made_cell, made_corpus, plain_blocks, random_numbers, run

MACHINE = ("seconds_phase1", "seconds_iteration", "seconds_phase2", "peak_memory", "created")
PHASE1 = (
    "phase1_iterations", "phase1_censored", "convergence_rate", "cvfp_loss", "diversity_loss", "train_er", "val_er",
)
PHASE2 = ("epochs", "best_epoch", "train_ppl", "val_ppl", "val_acc")


def metrics(record):
    """All columns but those of the machine and the moment."""
    return {name: value for name, value in asdict(record).items() if name not in MACHINE}


@pytest.mark.parametrize("changed", [
    {}, {"phase1": {"context_noise": 0.0, "convergence_threshold": 50.0}}, {"num_samples": 1}
], ids=str)
@pytest.mark.parametrize("name", ["1L_12d_1tok", "1L_12d_2tok", "3L_12d_2tok"])
def test_the_record_is_that_of_the_plain_protocol(name, changed):
    """Both phases, from the same weights and random numbers, with nothing else in common."""
    corpus, cell, kept = made_corpus(), made_cell(name, **changed), []

    def build(*given):
        model = RESIDUAL.build(*given)
        kept.append(plain_blocks(model))
        return model

    record, _, _ = run(cell, corpus, family=replace(RESIDUAL, build=build))
    ((context_block, token_block),) = kept
    settings, embeddings = cell.settings, torch.from_numpy(corpus.embeddings).double()
    tokens = corpus.train_tokens[: 30 * cell.num_samples].tolist()
    u, v = (
        plain.windows(stream, embeddings, cell.variant.num_input_tokens) for stream in (tokens, corpus.val_tokens)
    )
    contexts, history, censored = plain.phase1(
        context_block, u, *random_numbers(len(u), 12, settings.phase1, 2 * cell.seed + 1), settings.phase1
    )
    val_contexts = plain.sequential(context_block, v, 12)
    epochs, best = plain.phase2(
        token_block, embeddings, (tokens, u, plain.cached_layers(context_block, u, contexts)),
        (corpus.val_tokens, v, plain.cached_layers(context_block, v, val_contexts)), settings.phase2,
    )
    train_ppl, val_ppl, val_acc = epochs[best]
    assert record.status == "ok"
    assert (record.train_tokens, record.val_tokens) == (len(tokens), 40)
    assert (record.phase1_iterations, record.phase1_censored) == (len(history) + 1, censored)
    assert record.convergence_rate == history[-1][3]
    assert record.cvfp_loss == pytest.approx(history[-1][1], rel=2e-5)
    assert record.diversity_loss == pytest.approx(history[-1][2], rel=2e-5)
    assert record.train_er == pytest.approx(plain.effective_rank(torch.stack(contexts)), rel=2e-5)
    assert record.val_er == pytest.approx(plain.effective_rank(torch.stack(val_contexts)), rel=2e-5)
    assert (record.epochs, record.best_epoch) == (len(epochs), best + 1)
    assert (record.max_epochs, record.phase2_censored) == (settings.phase2.epochs, best + 1 == settings.phase2.epochs)
    assert record.train_ppl == pytest.approx(train_ppl, rel=2e-5)
    assert record.val_ppl == pytest.approx(val_ppl, rel=2e-5)
    assert record.val_acc == val_acc


def test_curves_and_events_tell_what_the_record_ends_with():
    record, curves, events = run(made_cell())
    at = {(point.phase, point.step, point.metric): point.value for point in curves}
    assert at[1, record.phase1_iterations, "convergence_rate"] == record.convergence_rate
    assert at[2, record.best_epoch, "val_ppl"] == record.val_ppl
    assert {step for phase, step, _ in at if phase == 1} == set(range(2, record.phase1_iterations + 1))
    assert {step for phase, step, _ in at if phase == 2} == set(range(1, record.epochs + 1))
    assert [event.kind for event in events] == (
        ["phase1_iteration"] * (record.phase1_iterations - 1) + ["phase_finished"]
        + ["phase2_epoch"] * record.epochs + ["phase_finished"]
    )


def test_parallel_and_sequential_validation_give_one_result():
    """600 validation tokens are three chunks; the difference at a seam is at most 1e-5."""
    corpus = made_corpus(val=600)
    parallel, sequential = (
        run(made_cell("2L_12d_2tok", shortcuts=Shortcuts(parallel_validation=how)), corpus)[0] for how in (True, False)
    )
    assert parallel.val_er == pytest.approx(sequential.val_er, rel=1e-4)
    assert parallel.val_ppl == pytest.approx(sequential.val_ppl, rel=1e-4)
    assert parallel.train_er == sequential.train_er


def test_bfloat16_is_near_float32():
    """Eight bits of mantissa: 2 % of the perplexity and 1 % of the rank are what rounding leaves room for."""
    wide, narrow = (run(made_cell("2L_12d_2tok", precision=precision))[0] for precision in ("float32", "bfloat16"))
    assert narrow.status == "ok"
    assert narrow.val_ppl != wide.val_ppl
    assert narrow.val_ppl == pytest.approx(wide.val_ppl, rel=0.02)
    assert narrow.train_er == pytest.approx(wide.train_er, rel=0.01)


def test_the_untrained_mode_measures_contexts_of_a_random_block():
    corpus = made_corpus()
    record, _, _ = run(made_cell(phase1={"mode": "untrained"}), corpus)
    assert (record.status, record.phase1_mode, record.params_phase1) == ("ok", "untrained", 0)
    assert all(getattr(record, name) is not None for name in PHASE1 + PHASE2)
    trained, _, _ = run(made_cell(), corpus)
    assert trained.train_er != record.train_er


def test_the_zero_context_mode_has_no_phase1_metrics_and_knows_the_window_alone():
    """Settings of Phase 1 cannot matter then."""
    record, curves, _ = run(made_cell(phase1={"mode": "zero-context"}))
    other, _, _ = run(made_cell(phase1={"mode": "zero-context", "learning_rate": 0.5, "context_noise": 0.0}))
    assert (record.status, record.phase1_mode, record.params_phase1) == ("ok", "zero-context", 0)
    assert [getattr(record, name) for name in PHASE1] == [None] * len(PHASE1)
    assert record.val_ppl == other.val_ppl
    assert {point.phase for point in curves} == {2}


class Bigrams(nn.Module):
    """A one-phase model: a trained hidden vector for every token."""

    def __init__(self, _variant, _options, embeddings, generator):
        super().__init__()
        start = 0.1 * torch.randn(len(embeddings), embeddings.shape[1], generator=generator)
        self.table = nn.Parameter(start)

    def contexts(self, _previous, _windows):
        return []

    def hidden(self, contexts, windows):
        assert contexts.shape[0] == 0
        return self.table[windows[:, -1]]

    def phase1_parameters(self):
        return []

    def phase2_parameters(self):
        return [self.table]


BIGRAMS = VariantFamily(name="bigrams", title="", form="", parse=lambda _: None, build=Bigrams, phases=1)


def test_a_one_phase_family_leaves_phase1_columns_null_and_still_learns():
    corpus = made_corpus(train=600)
    record, curves, events = run(
        made_cell(phase2={"learning_rate": 0.1, "epochs": 5}), corpus, family=BIGRAMS
    )
    assert (record.status, record.phase1_mode, record.seconds_phase1) == ("ok", None, None)
    assert [getattr(record, name) for name in PHASE1] == [None] * len(PHASE1)
    assert (record.params_phase1, record.params_phase2) == (0, 30 * 8)
    assert record.val_ppl < record.unigram_ppl
    assert {point.phase for point in curves} == {2}
    assert [event.values["phase"] for event in events if event.kind == "phase_finished"] == [2]


def outcomes():
    """Cells that end in every way, by the name of the way."""
    broken, huge = made_corpus().embeddings.copy(), 1e6 * made_corpus().embeddings
    broken[7, 3] = np.inf
    return {
        "ok": (made_cell(), made_corpus()),
        "one number wide": (made_cell("1L_1d_1tok", phase1={"mode": "untrained"}), made_corpus()),
        "phase 1 rate": (made_cell(phase1={"learning_rate": 1e36}), made_corpus()),
        "embeddings": (made_cell(), made_corpus(embeddings=broken)),
        "phase 2 rate": (made_cell(phase2={"learning_rate": 1e36}), made_corpus()),
        "perplexity": (made_cell(), made_corpus(embeddings=huge)),
    }


@pytest.mark.parametrize(("name", "reason"), [("phase 1 rate", "phase 1 loss is"), ("embeddings", "phase 1 loss is")])
def test_a_divergence_of_phase1_becomes_a_record_with_a_reason(name, reason):
    record, _, _ = run(*outcomes()[name])
    assert record.status == "diverged"
    assert reason in record.reason
    assert [getattr(record, column) for column in PHASE1 + PHASE2] == [None] * len(PHASE1 + PHASE2)
    assert (record.train_tokens, record.params_phase2) == (90, 12 * 8 + 8 * 8 + 8 + 16)


@pytest.mark.parametrize(("name", "reason"), [("phase 2 rate", "phase 2"), ("perplexity", "perplexity is inf")])
def test_a_divergence_of_phase2_keeps_what_phase1_measured(name, reason):
    record, curves, _ = run(*outcomes()[name])
    assert record.status == "diverged"
    assert reason in record.reason
    assert all(getattr(record, column) is not None for column in PHASE1)
    assert [getattr(record, column) for column in PHASE2] == [None] * len(PHASE2)
    assert any(point.phase == 1 for point in curves)


@pytest.mark.parametrize("name", list(outcomes()))
def test_the_record_of_every_outcome_can_be_stored_and_read(name, tmp_path):
    """Neither NaN nor infinity reaches it, and every value is within its column's range."""
    record, curves, _ = run(*outcomes()[name])
    store.create(tmp_path)
    store.write_record(tmp_path, asdict(record))
    assert store.read(tmp_path).equals(conform(frame([record])).records)
    assert all(point.value is None or math.isfinite(point.value) for point in curves)


def test_contexts_one_number_wide_carry_nothing():
    """LayerNorm over one number is its bias, at first zero: no rank, and Phase 2 goes on."""
    record, _, _ = run(*outcomes()["one number wide"])
    assert (record.status, record.train_er, record.val_er) == ("ok", 0.0, 0.0)


@pytest.mark.parametrize("changed", [{}, {"precision": "bfloat16"}, {"phase1": {"mode": "untrained"}}], ids=str)
def test_the_same_cell_gives_the_same_bits(changed):
    """Whatever the global generator stands at; and it is left where it stood."""
    cell, corpus = made_cell("2L_12d_2tok", **changed), made_corpus(val=300)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, curves, _ = run(cell, corpus)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)
    second, again, _ = run(cell, corpus)
    assert metrics(first) == metrics(second)
    assert [asdict(point) for point in curves if point.metric != "seconds"] == [
        asdict(point) for point in again if point.metric != "seconds"
    ]


def test_another_seed_gives_another_result():
    assert run(made_cell(seed=3))[0].val_ppl != run(made_cell(seed=4))[0].val_ppl


def test_one_thread_and_two_agree():
    """Sums are cut elsewhere: 1e-4 of the metrics after some steps of Adam. Wide enough for threads to be used."""
    cell = made_cell(
        "1L_96d_1tok", phase1={"max_iterations": 3, "batch_tokens": 600}, phase2={"epochs": 1, "batch_tokens": 300}
    )
    corpus = made_corpus(train=600, val=20, vocab=200, width=64)
    records = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            records.append(run(cell, corpus)[0])
        finally:
            torch.set_num_threads(1)
    one, two = records
    assert two.device == "cpu (2 threads)"
    for name in ("cvfp_loss", "diversity_loss", "train_er", "val_er", "train_ppl", "val_ppl"):
        assert getattr(one, name) == pytest.approx(getattr(two, name), rel=1e-4), name


def test_the_number_of_samples_takes_the_first_documents():
    corpus = made_corpus()
    short = replace(corpus, train_tokens=corpus.train_tokens[:30], document_ends=corpus.document_ends[:1])
    first, only = run(made_cell(num_samples=1), corpus)[0], run(made_cell(num_samples=1), short)[0]
    assert first.train_tokens == 30
    assert metrics(first) == metrics(only)


def test_the_unigram_perplexity_is_that_of_a_plain_count():
    corpus = made_corpus()
    train, val = corpus.train_tokens.tolist(), corpus.val_tokens.tolist()
    losses = [-math.log((train.count(token) + 1) / (len(train) + 30)) for token in val[1:]]
    assert unigram_perplexity(corpus.train_tokens, corpus.val_tokens, 30) == pytest.approx(
        math.exp(sum(losses) / len(losses)), rel=1e-12
    )
    assert run(made_cell(num_samples=3), corpus)[0].unigram_ppl == unigram_perplexity(
        corpus.train_tokens, corpus.val_tokens, 30
    )


def test_operations_are_those_of_a_hand_count():
    """10 and 20 parameters, a head of 300, 1,000 and 100 tokens, four iterations, two epochs.

    Phase 1: three sweeps of 6 x 10 x 1,000 = 180,000, and contexts, of the validation stream twice, 2 x 10 x 1,200 =
    24,000. Untrained, a sweep is a third of that.
    Phase 2: an epoch is (6 x 20 + 4 x 300) x 1,000 = 1,320,000 and 2 x 320 x 100 = 64,000 of validation.
    """
    assert run_flops(10, 20, 300, 1000, 100, 4, 2) == 180_000 + 24_000 + 2 * (1_320_000 + 64_000)
    assert run_flops(10, 20, 300, 1000, 100, 4, 0, trained=False) == 60_000 + 24_000
    assert run_flops(0, 20, 300, 1000, 100, 0, 1) == 1_384_000
    record, _, _ = run(made_cell())
    assert record.flops == run_flops(
        record.params_phase1, record.params_phase2, 30 * 8, 90, 40, record.phase1_iterations, record.epochs
    )


def measuring(**values):
    """The residual family, with models that measure these."""
    def build(*given):
        model = RESIDUAL.build(*given)
        model.metrics = lambda: values
        return model

    return replace(RESIDUAL, build=build)


GATE = {"gate": Quantity(name="gate", maximum=1)}


@pytest.mark.parametrize(("values", "kept", "warning"), [
    ({"gate": 0.25}, {"gate": 0.25}, None), ({"val_bpb": 1.5}, {"val_bpb": 1.5}, None), ({}, {}, None),
    ({"other": 1.0, "gate": 1}, {"gate": 1.0}, "'other' is left out: no plugin declares it"),
    ({"val_ppl": 3.0}, {}, "'val_ppl' is left out: the protocol measures it"),
    ({"reason": 3.0}, {}, "'reason' is left out: the protocol measures it"),
    ({"gate": 1.5}, {}, "'gate' is left out: it must be at most 1, found 1.5"),
    ({"gate": math.nan}, {}, "'gate' is left out: it must be at most 1, found nan"),
])
def test_what_a_model_measures_of_itself_is_in_its_record_if_somebody_declares_it(values, kept, warning, tmp_path):
    events = []
    result = run_cell(made_cell(), measuring(**values), made_corpus(), events.append, (), GATE)
    assert dict(result.metrics) == kept
    warnings = [str(event.values["text"]) for event in events if event.kind == "warning"]
    assert [warning in each for each in warnings] == [True] * len(warnings) if warning else not warnings
    store.write(store.create(tmp_path), result)
    (row,) = store.read(tmp_path).to_dicts()
    assert {name: row[name] for name in kept} == kept
    assert row["val_ppl"] == result.record.val_ppl
