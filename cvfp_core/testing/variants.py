"""The check of a model family: built, taught in both phases and run, on a stream of a hundred tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from cvfp_core.protocol.model import TwoPhaseModel, parameter_count, token_windows
from cvfp_core.protocol.run import run_cell
from cvfp_core.registry import load
from cvfp_core.registry.kinds import Corpus, Quantity, VariantFamily
from cvfp_core.running import grid
from cvfp_core.schema import options as given_options
from cvfp_core.schema.cells import Cell, CorpusChoice, Event, Variant
from cvfp_core.schema.records import Record
from cvfp_core.schema.settings import Phase1Mode, Phase1Settings, Phase2Settings, Scalar, Settings, Shortcuts
from cvfp_core.testing.expecting import expect, raised
from cvfp_core.testing.loading import holding

VOCAB, WIDTH, TRAIN, VAL = 29, 8, 120, 50
ITERATIONS, EPOCHS = 12, 4
NONSENSE = ("", "no variant of yours", "0L_8d_1tok\n")
PHASE1 = Phase1Settings(  # no convergence before the last iteration
    learning_rate=0.005, max_iterations=ITERATIONS, min_iterations=ITERATIONS, context_noise=0.0)
PHASE2 = Phase2Settings(learning_rate=0.01, epochs=EPOCHS, patience=EPOCHS, batch_tokens=32)
BFLOAT16 = 0.2
"""How far the logarithm of a perplexity in bfloat16 may lie from that in float32; a percent is usual."""
CONTROLS: tuple[Phase1Mode, ...] = tuple(mode for mode in get_args(Phase1Mode) if mode != "trained")
SHORT = 1e-3
"""How far a perplexity may be moved by shortcuts, relatively; 1e-6 is usual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """The variant under test, with all options of its family."""

    family: VariantFamily
    variant: Variant
    options: Mapping[str, Scalar | None]
    declared: Mapping[str, Quantity] = field(default_factory=dict)
    """Quantities that plugins declare."""

    @property
    def name(self) -> str:
        return f"variant '{self.variant.name}' of family '{self.family.name}'"

    def build(self, seed: int = 1) -> TwoPhaseModel:
        generator = torch.Generator().manual_seed(2 * seed)
        return self.family.build(self.variant, self.options, torch.from_numpy(_corpus().embeddings), generator)


def check(
    family: VariantFamily, name: str, options: Mapping[str, Scalar | None], quantities: Iterable[Quantity]
) -> None:
    """See `check_variant`."""
    declared = dict(load().items(Quantity)) | {each.name: each for each in quantities}
    subject = replace(_subject(family, name, options), declared=declared)
    with _global_generator_kept(subject):
        _same_seed_same_weights(subject)
        _groups_sum(subject)
        _keeps_what_it_is_given(subject)
        _shapes(subject)
        _learns(subject)
        if family.phases == 2:
            _runs_as_control(subject)


def _subject(family: VariantFamily, name: str, given: Mapping[str, Scalar | None]) -> _Subject:
    variant = holding(family).variant(name)
    expect(variant.name == name and variant.family == family.name, f"family '{family.name}' parses '{name}'",
           f"a variant of that name and family '{family.name}'", f"'{variant.name}' of '{variant.family}'")
    for nonsense in NONSENSE:
        found = family.parse(nonsense)
        expect(found is None, f"family '{family.name}' parses {nonsense!r}", "None, as that is no name of it", found)
    others = [each for each in load().items(VariantFamily).values() if each.name != family.name]
    given_options.resolve("model", family.options, given)  # refuses those the family does not have
    settled = grid.settled(variant, given, holding(family, *others), _corpus())
    return _Subject(family=family, variant=variant, options=settled)


def _corpus() -> Corpus:
    """Tokens that follow each other with some order, under random embeddings."""
    rng = np.random.default_rng(5)

    def stream(count: int) -> np.ndarray:
        tokens = [int(rng.integers(VOCAB))]
        while len(tokens) < count:
            tokens.append((3 * tokens[-1] + 1) % VOCAB if rng.random() < 0.7 else int(rng.integers(VOCAB)))
        return np.array(tokens, dtype=np.int32)

    return Corpus(
        name="made", tokenizer="none", vocab_size=VOCAB, train_tokens=stream(TRAIN), document_ends=np.array([TRAIN]),
        val_tokens=stream(VAL), embeddings=rng.normal(0.0, 0.3, (VOCAB, WIDTH)).astype(np.float32), hash="made",
    )


@contextmanager
def _global_generator_kept(subject: _Subject) -> Iterator[None]:
    before = torch.random.get_rng_state()
    try:
        yield
        same = torch.equal(before, torch.random.get_rng_state())
    finally:
        torch.random.set_rng_state(before)
    expect(same, f"{subject.name} and torch's global generator", "it is left alone, as build is given one of its own "
           "(torch's layers draw their first weights from the global one, unless made by nn.utils.skip_init)",
           "it was drawn from")


def _state(model: TwoPhaseModel) -> dict[str, Tensor]:
    """Copies of all parameters and buffers, by name."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}  # type: ignore[attr-defined]


def _differing(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def _names(model: TwoPhaseModel, phase: int) -> set[str]:
    """Names of the parameters of a phase's group."""
    group = {id(each) for each in (model.phase1_parameters() if phase == 1 else model.phase2_parameters())}
    return {name for name, each in model.named_parameters() if id(each) in group}  # type: ignore[attr-defined]


def _same_seed_same_weights(subject: _Subject) -> None:
    model = subject.build(1)
    before = _state(model)
    off = _differing(before, _state(subject.build(1)))
    expect(not off, f"{subject.name} built twice with one seed", "the same weights", f"others in {_list(off)}")
    trained = _names(model, 1) | _names(model, 2)
    expect(bool(_differing(before, _state(subject.build(2))) & trained), f"{subject.name} built with another seed",
           "other weights", "the same")


def _groups_sum(subject: _Subject) -> None:
    model = subject.build()
    groups = {phase: list(model.phase1_parameters() if phase == 1 else model.phase2_parameters()) for phase in (1, 2)}
    both = _names(model, 1) & _names(model, 2)
    expect(not both, f"{subject.name}: parameters in both groups", "none", _list(both))
    for phase, group in groups.items():
        expect(len({id(each) for each in group}) == len(group), f"{subject.name}: the group of phase {phase}",
               "each parameter once", "one that comes twice")
        expect(bool(group) == (phase == 2 or subject.family.phases == 2), f"{subject.name}: the group of phase {phase}",
               f"{'some parameters' if not group else 'none'}, as the family has phases={subject.family.phases}",
               len(group))
    free = {name for name, each in model.named_parameters() if each.requires_grad}  # type: ignore[attr-defined]
    left = free - _names(model, 1) - _names(model, 2)
    count = parameter_count([*groups[1], *groups[2]])
    total = parameter_count(each for each in model.parameters() if each.requires_grad)  # type: ignore[attr-defined]
    expect(count == total, f"{subject.name}: the groups' parameters summed",
           f"{total:,}, all that is trained (freeze the others: a buffer, or requires_grad_(False))",
           f"{count:,}; in neither group: {_list(left)}")
    if subject.family.size is not None:
        declared = subject.family.size(subject.variant, subject.options, WIDTH)
        found = (declared.params_phase1, declared.params_phase2)
        built = (parameter_count(groups[1]), parameter_count(groups[2]))
        expect(found == built, f"{subject.name}: parameters of the size that the family declares",
               f"those of the model, {built}", found)


def _windows(tokens: np.ndarray, subject: _Subject) -> Tensor:
    return token_windows(torch.from_numpy(tokens.astype(np.int64)), subject.variant.num_input_tokens, VOCAB)


@torch.no_grad()
def _shapes(subject: _Subject) -> None:
    model, variant = subject.build(), subject.variant
    windows = _windows(_corpus().train_tokens[:6], subject)
    previous = torch.randn(6, variant.context_dim, generator=torch.Generator().manual_seed(3))
    made = model.contexts(previous, windows)
    wanted = [(6, variant.context_dim)] * (variant.num_layers if subject.family.phases == 2 else 0)
    found = [tuple(each.shape) for each in made]
    expect(found == wanted, f"{subject.name}: contexts of 6 tokens", f"a list of shapes {wanted}", found)
    layers = torch.stack(made) if made else torch.zeros(0, 6, variant.context_dim)
    hidden = model.hidden(layers, windows)
    expect(tuple(hidden.shape) == (6, WIDTH), f"{subject.name}: hidden vectors of 6 tokens", str((6, WIDTH)),
           tuple(hidden.shape))
    for what, each in (*((f"context layer {i + 1}", layer) for i, layer in enumerate(made)), ("hidden", hidden)):
        expect(bool(torch.isfinite(each).all()), f"{subject.name}: {what}", "finite numbers", "others")
    alone = model.contexts(previous[2:3], windows[2:3])
    pairs = [*zip(made, alone, strict=True), (hidden, model.hidden(layers[:, 2:3], windows[2:3]))]
    off = max(float((whole[2] - one[0]).abs().max()) for whole, one in pairs)
    expect(off < 1e-4, f"{subject.name}: a token computed alone and among others", "the same (a batch is any cut of a "
           "stream)", f"a difference of {off:.2g}")


def _keeps_what_it_is_given(subject: _Subject) -> None:
    """Contexts are views of the protocol's buffer: what a model writes into them is read again as contexts."""
    model, variant = subject.build(), subject.variant
    windows = _windows(_corpus().train_tokens[:6], subject)
    number = variant.num_layers if subject.family.phases == 2 else 0
    contexts = torch.randn(number + 1, 6, variant.context_dim, generator=torch.Generator().manual_seed(4))
    for learning in (False, True):
        for method, given in ((model.contexts, contexts[0].clone()), (model.hidden, contexts[1:].clone())):
            before = (given.clone(), windows.clone())
            with torch.set_grad_enabled(learning):
                method(given, windows)
            changed = [what for what, old, new in zip(("contexts", "windows"), before, (given, windows), strict=True)
                       if not torch.equal(old, new)]
            expect(not changed, f"{subject.name}: what `{method.__name__}` is given", "it stays as it was",
                   f"other {' and '.join(changed)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A run of both phases, and the model's parameters and buffers before, between and after them."""

    record: Record
    curves: Mapping[tuple[int, str], list[float | None]]
    """(phase, metric) -> values, step by step."""
    model: TwoPhaseModel
    states: list[Mapping[str, Tensor]]


def _run(subject: _Subject, precision: Literal["float32", "bfloat16"] = "float32", mode: Phase1Mode = "trained",
         shortcuts: Shortcuts | None = None) -> _Run:
    models: list[TwoPhaseModel] = []
    states: list[Mapping[str, Tensor]] = []

    def build(*given: Any) -> TwoPhaseModel:
        models.append(subject.family.build(*given))
        states.append(_state(models[0]))
        return models[0]

    def heard(event: Event) -> None:
        text = str(event.values.get("text", ""))
        expect(not text.startswith("the model's metric"), f"{subject.name}: what its metrics() returns",
               "values of quantities that a plugin declares, in range", text)
        if event.kind == "phase_finished":
            states.append(_state(models[0]))

    cell = Cell(
        experiment="kit", variant=subject.variant, corpus=CorpusChoice(name="made"), corpus_hash="made",
        settings=Settings(phase1=replace(PHASE1, mode=mode), phase2=PHASE2, model=subject.options, precision=precision),
        num_samples=1, train_tokens=TRAIN, seed=1, device="cpu", cache=Path("unused"),
        shortcuts=shortcuts or Shortcuts(),
    )
    what = f"{subject.name}: a run in {precision}" + (f", phase1.mode={mode}" if mode != "trained" else "")
    try:
        result = run_cell(cell, replace(subject.family, build=build), _corpus(), heard, (),
                          subject.declared)
    except Exception as error:
        raise raised(what, error) from error
    record = result.record
    expect(record.status == "ok", what, "status ok", f"{record.status}: {record.reason}")
    curves: dict[tuple[int, str], list[float | None]] = {}
    for point in result.curves:
        curves.setdefault((point.phase, point.metric), []).append(point.value)
    return _Run(record=record, curves=curves, model=models[0], states=states)


def _learns(subject: _Subject) -> None:
    run = _run(subject)
    phases = (1, 2) if subject.family.phases == 2 else (2,)
    for phase, before, after in zip(phases, run.states, run.states[1:], strict=False):
        changed, mine = _differing(before, after), _names(run.model, phase)
        expect(changed <= mine, f"{subject.name}: what Phase {phase} changed", f"parameters of phase {phase} only",
               f"also {_list(changed - mine)}")
        expect(mine <= changed, f"{subject.name}: parameters of phase {phase}", f"all of them learn in Phase {phase}",
               f"no change of {_list(mine - changed)}")
    if subject.family.phases == 2:
        last, without = (each.curves[1, "loss"][-1] or 0.0 for each in (run, _run(subject, mode="untrained")))
        expect(last < without, f"{subject.name}: loss of Phase 1 after {ITERATIONS} iterations",
               f"below {without:.6g}, where it ends without training", f"{last:.6g}")
    ppl = [value or math.nan for value in run.curves[2, "train_ppl"]]
    expect(ppl[-1] < ppl[0], f"{subject.name}: training perplexity after {EPOCHS} epochs",
           f"below {ppl[0]:.4g}, where it began", f"{ppl[-1]:.4g}")
    for name, phase in (("params_phase1", 1), ("params_phase2", 2)):
        count = parameter_count(run.model.phase1_parameters() if phase == 1 else run.model.phase2_parameters())
        expect(getattr(run.record, name) == count, f"{subject.name}: {name} of its record", f"{count:,}",
               getattr(run.record, name))
    first, again, half = (each.val_ppl or math.nan for each in (
        run.record, _run(subject).record, _run(subject, "bfloat16").record))
    expect(first == again, f"{subject.name} run twice in float32", f"perplexity {first}", again)
    plain = _run(subject, shortcuts=Shortcuts.none()).record.val_ppl or math.nan
    expect(abs(first / plain - 1) < SHORT, f"{subject.name} run with the shortcuts, of which `sharing` is the model's",
           f"the perplexity without them, {plain:.8g}", f"{first:.8g}")
    expect(abs(math.log(half / first)) < BFLOAT16, f"{subject.name}: validation perplexity in bfloat16",
           f"about that in float32, {first:.4g}", f"{half:.4g}")


def _runs_as_control(subject: _Subject) -> None:
    """As `cvfp run --controls` does; contexts of zeros are one zero in memory, which nothing can be written into."""
    for mode in CONTROLS:
        run = _run(subject, mode=mode)
        changed = _differing(run.states[0], run.states[-1]) & _names(run.model, 1)
        expect(not changed, f"{subject.name} with phase1.mode={mode}", "parameters of phase 1 stay as they were",
               f"other values of {_list(changed)}")
        expect(math.isfinite(run.record.val_ppl or math.nan), f"{subject.name} with phase1.mode={mode}",
               "a finite perplexity", run.record.val_ppl)


def _list(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
