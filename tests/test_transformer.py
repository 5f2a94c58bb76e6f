"""The transformer family: what it sees, what it trains, how large it is made, and that it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import made_grids
from cvfp_core import registry
from cvfp_core.claims import matched
from cvfp_core.errors import UsageError
from cvfp_core.protocol.counting import model_size
from cvfp_core.protocol.model import parameter_count
from cvfp_core.running import grid
from cvfp_core.running.config import RunConfig
from cvfp_core.schema.cells import CorpusChoice
from cvfp_core.schema.records import frame
from cvfp_core.schema.settings import Settings, Shortcuts
from cvfp_residual import cvfp_variants as residual_variants
from cvfp_transformer import cvfp_variants
from made_runs import made_cell, made_corpus, made_windows, run, same, state_of

(FAMILY,) = cvfp_variants()
(RESIDUAL,) = residual_variants()
VOCAB, WIDTH = 30, 8


def made(name="transformer_2L_12d_5tok", *, seed=0, **options):
    """A model with the defaults but for the options given."""
    defaults = {option.name: option.default for option in FAMILY.options}
    embeddings = torch.randn(VOCAB, WIDTH, generator=torch.Generator().manual_seed(9))
    return FAMILY.build(FAMILY.parse(name), defaults | {"heads": 2} | options, embeddings,
                        torch.Generator().manual_seed(seed))


def hidden(model, windows):
    return model.hidden(torch.zeros(0, len(windows), 12), windows)


def config(*variants, **model):
    return RunConfig(
        name="made", variants=variants, samples=(3,), seeds=(1,), controls=False, preset=None,
        settings=Settings(model=model), device="cpu", executor="local", corpus=CorpusChoice(name="made"),
        shortcuts=Shortcuts(),
    )


def cells(*variants, width=128, tmp_path, **model):
    """The cells of one size for a corpus of embeddings that wide."""
    corpus = made_corpus(embeddings=np.ones((VOCAB, width), dtype=np.float32))
    return corpus, grid.cells(config(*variants, **model), registry.installed(), corpus, "cpu", tmp_path)


def test_names_of_the_two_families_do_not_clash():
    assert registry.installed().variant("transformer_2L_128d_32tok").family == "transformer"
    assert registry.installed().variant("2L_128d_32tok").family == "residual"
    assert FAMILY.parse("2L_128d_32tok") is None


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_no_position_sees_a_later_one(layers):
    """The whole window through full attention, position by position, is what windows that end there give."""
    model, windows = made(f"transformer_{layers}L_12d_5tok"), made_windows(9, num_input_tokens=5)[4:]
    changed = windows.clone()
    changed[:, :4] = (changed[:, :4] + 1) % VOCAB
    assert not torch.allclose(hidden(model, changed), hidden(model, windows), atol=1e-3)
    x = model.enter(model.table[windows]) + model.positions
    later = x.clone()
    later[:, 3:] += 1.0
    causal = torch.ones(5, 5, dtype=torch.bool).tril()[None, None]
    for layer in model.layers:
        x, later = layer(x, causal, 5), layer(later, causal, 5)
    torch.testing.assert_close(later[:, :3], x[:, :3])
    assert not torch.allclose(later[:, 3:], x[:, 3:], atol=1e-3)
    torch.testing.assert_close(hidden(model, windows), model.leave(model.norm(x[:, -1])))  # only the last is asked


def test_what_stands_before_the_stream_is_not_seen():
    model = made()
    windows = torch.tensor([[VOCAB, VOCAB, 4, 17, 2]])
    before = hidden(model, windows)
    with torch.no_grad():
        model.table[VOCAB] = 100.0
        model.positions[:2] = -50.0
    torch.testing.assert_close(hidden(model, windows), before)
    assert torch.isfinite(hidden(model, torch.full((1, 5), VOCAB))).all()


def test_only_its_parameters_get_gradients_and_all_of_them():
    model, windows = made(), made_windows(20, num_input_tokens=5)
    hidden(model, windows).square().sum().backward()
    assert list(model.phase1_parameters()) == []
    parameters = list(model.phase2_parameters())
    assert parameter_count(parameters) == parameter_count(model.parameters())
    flat = [name for name, each in model.named_parameters()
            if each.grad is None or (not each.grad.abs().sum() and "key.bias" not in name)]
    assert flat == []  # a bias of keys moves all scores alike, so it has no effect
    assert not model.table.requires_grad


def test_same_seed_same_weights_and_the_global_generator_is_left_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, second, other = made(), made(), made(seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert same(state_of(first.parameters()), second.parameters())
    assert not same(state_of(first.parameters()), other.parameters())


@pytest.mark.parametrize(("name", "other", "options"), [
    ("transformer_1L_128d_32tok", "1L_128d_2tok", {}),
    ("transformer_2L_64d_16tok", "1L_128d_2tok", {}),
    ("transformer_1L_96d_8tok", "2L_128d_1tok", {"heads": 3}),
    ("transformer_2L_128d_8tok", "2L_128d_2tok", {"feed_forward": "gelu"}),
    ("transformer_1L_64d_8tok", "1L_128d_2tok", {"num_splits": 2}),
])
def test_a_match_has_the_parameters_of_both_phases_of_the_other_within_one_percent(name, other, options, tmp_path):
    given = {key: value for key, value in options.items() if key != "heads"}
    variants = (name, other) if given else (name,)
    corpus, (cell, *_) = cells(*variants, tmp_path=tmp_path, match=other, **options)
    defaults = {option.name: option.default for option in RESIDUAL.options}
    wanted = model_size(RESIDUAL.parse(other), RESIDUAL, defaults | given, 9, corpus.embed_dim).trained
    reached = model_size(cell.variant, FAMILY, cell.settings.model, 9, corpus.embed_dim).trained
    assert abs(reached - wanted) <= 0.01 * wanted
    assert cell.settings.model["parameters"] == wanted
    assert cell.settings.model["inner_width"] >= 1


def test_a_number_of_parameters_can_be_asked_for_as_such(tmp_path):
    corpus, (cell,) = cells("transformer_1L_64d_8tok", tmp_path=tmp_path, parameters=100_000)
    reached = model_size(cell.variant, FAMILY, cell.settings.model, 9, corpus.embed_dim).trained
    assert reached == pytest.approx(100_000, rel=0.01)
    _, (plain,) = cells("transformer_1L_64d_8tok", tmp_path=tmp_path)
    assert plain.settings.model["inner_width"] == 256


@pytest.mark.parametrize(("name", "options", "said"), [
    ("transformer_2L_128d_8tok", {"match": "1L_128d_2tok"},
     r"'transformer_2L_128d_8tok' cannot have 131,968 parameters: it has \d+,\d+ or more, in steps of 514"),
    ("transformer_9L_8d_8tok", {"parameters": 5445, "heads": 1}, r"in steps of 153, so 5,369 is nearest; take fewer"),
    ("transformer_1L_128d_8tok", {"match": "transformer_1L_64d_8tok"}, "name a variant of another family"),
    ("transformer_1L_128d_8tok", {"match": "1L"}, "unknown variant '1L'"),
    ("transformer_1L_128d_8tok", {"heads": 3}, "model.heads = 3 does not divide the width 128"),
    ("transformer_1L_128d_8tok", {"match": "1L_128d_2tok", "inner_width": 8}, "give one of them"),
    ("transformer_1L_128d_8tok", {"matches": "1L_128d_2tok"}, "unknown key 'model.matches'; did you mean 'match'"),
])
def test_what_cannot_be_built_is_refused_in_one_line(name, options, said, tmp_path):
    with pytest.raises(UsageError, match=said) as error:
        cells(name, tmp_path=tmp_path, **options)
    assert "\n" not in str(error.value)


def stream_cell(*, precision="float32"):
    cell = made_cell(phase2={"epochs": 6, "learning_rate": 0.01, "patience": 2}, precision=precision)
    options = {option.name: option.default for option in FAMILY.options} | {"heads": 2}
    return replace(cell, variant=FAMILY.parse("transformer_1L_12d_4tok"),
                   settings=replace(cell.settings, model=options))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_learns_the_order_of_tokens_in_one_phase(precision):
    corpus = made_corpus(train=1500, val=400, width=16)
    record, _, events = run(stream_cell(precision=precision), corpus, family=FAMILY)
    assert (record.status, record.phases, record.phase1_mode, record.params_phase1) == ("ok", 1, None, 0)
    assert record.phase1_iterations is record.val_er is record.seconds_phase1 is None
    assert record.val_ppl < 0.8 * record.unigram_ppl
    assert [event.values["phase"] for event in events if event.kind == "phase_finished"] == [2]


def test_the_same_run_twice_gives_the_same_bits():
    corpus = made_corpus(train=200)
    first, second = (run(stream_cell(), corpus, family=FAMILY)[0] for _ in range(2))
    assert (first.val_ppl, first.train_ppl) == (second.val_ppl, second.train_ppl)


def test_settings_of_phase_1_are_no_difference_to_a_model_without_it():
    def group(**settings):
        record, _, _ = run(replace(stream_cell(), **settings), made_corpus(), family=FAMILY)
        return matched.group(matched.usable(frame([record])))

    cell = stream_cell()
    other = replace(cell.settings, phase1=replace(cell.settings.phase1, learning_rate=0.5))
    assert matched.differences(group(), group(settings=other)) == ()
    changed = replace(cell.settings, phase2=replace(cell.settings.phase2, patience=3))
    assert [each.name for each in matched.differences(group(), group(settings=changed))] == ["phase2.patience"]


def test_a_grid_of_both_families_says_which_run_had_one_phase(tmp_path):
    made_grids.corpus(tmp_path)
    variants = ("1L_16d_1tok", "transformer_1L_8d_4tok")
    options = [*made_grids.options(tmp_path, variants=variants, samples="4,8,16"), "--set", "model.match=1L_16d_1tok"]
    shown = made_grids.in_process("run", *options, folder=tmp_path)
    assert "transformer_1L_8d_4tok  one phase: no contexts" in shown.stdout
    assert "phase 1" not in "".join(line for line in shown.stderr.splitlines() if "transformer" in line)
    for template in ("summary", "audit", "phase1-to-ppl", "fits"):
        said = made_grids.in_process("report", tmp_path / "runs", "--template", template, folder=tmp_path).stdout
        assert "None" not in said
        assert "transformer" in said
    judged = made_grids.in_process("check", tmp_path / "runs", folder=tmp_path).stdout
    assert "transformer" not in judged


def test_settings_of_phase_1_are_no_mode_of_a_variant_without_it(tmp_path):
    asked = replace(config("transformer_1L_8d_4tok", "1L_16d_1tok"), controls=True)
    every = grid.cells(asked, registry.installed(), made_corpus(), "cpu", tmp_path)
    assert [cell.title for cell in every] == [
        "transformer_1L_8d_4tok", "1L_16d_1tok", "1L_16d_1tok, untrained", "1L_16d_1tok, zero-context",
    ]
