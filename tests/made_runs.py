"""Small corpora, cells, models and calls for the tests of the protocol, all made up."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import nn

import plain_protocol as plain
from cvfp_core.protocol.head import Head
from cvfp_core.protocol.model import token_windows
from cvfp_core.protocol.noise import Noise
from cvfp_core.protocol.phase1 import learn_contexts
from cvfp_core.protocol.phase2 import Stream, learn_tokens
from cvfp_core.protocol.products import fast_products
from cvfp_core.protocol.run import run_cell
from cvfp_core.protocol.tuning import tuned
from cvfp_core.registry.kinds import Corpus
from cvfp_core.schema.cells import Cell, CorpusChoice, Variant
from cvfp_core.schema.settings import Phase1Settings, Phase2Settings, Settings, Shortcuts
from cvfp_residual import cvfp_variants

torch.set_num_threads(1)  # products this small wait for threads longer than they compute

(RESIDUAL,) = cvfp_variants()
SHORTCUTS = Shortcuts()


def made_corpus(*, train=90, val=40, vocab=30, width=8, embeddings=None, seed=0):
    """Tokens that follow each other with some order, in three documents, under random embeddings."""
    rng = np.random.default_rng(seed)

    def stream(count):
        tokens = [int(rng.integers(vocab))]
        while len(tokens) < count:
            follows = (3 * tokens[-1] + 1) % vocab
            tokens.append(follows if rng.random() < 0.6 else int(rng.integers(vocab) * rng.random()))
        return np.array(tokens, dtype=np.int32)

    if embeddings is None:
        embeddings = rng.normal(0.0, 0.3, (vocab, width)).astype(np.float32)
    return Corpus(
        name="made", tokenizer="none", vocab_size=vocab, train_tokens=stream(train),
        document_ends=np.array([train // 3, 2 * train // 3, train]), val_tokens=stream(val),
        embeddings=embeddings, hash="made",
    )


def made_cell(name="1L_12d_1tok", *, phase1=None, phase2=None, model=None, precision="float32", seed=3, num_samples=3,
              shortcuts=SHORTCUTS):
    """A cell of the residual family; the dictionaries hold what differs from the defaults."""
    options = {option.name: option.default for option in RESIDUAL.options}
    return Cell(
        experiment="made", variant=Variant.parse(name, family="residual"),
        settings=Settings(
            phase1=Phase1Settings(**{"max_iterations": 8, "batch_tokens": 40, **(phase1 or {})}),
            phase2=Phase2Settings(**{"epochs": 3, "batch_tokens": 16, "learning_rate": 0.01, **(phase2 or {})}),
            model={**options, **(model or {})}, precision=precision,
        ),
        corpus=CorpusChoice(name="made"), corpus_hash="made", num_samples=num_samples, train_tokens=0, seed=seed,
        device="cpu", cache=Path("unused"), shortcuts=shortcuts,
    )


def run(cell, corpus=None, *, family=RESIDUAL):
    """(record, curves, events) of a cell."""
    events = []
    result = run_cell(cell, family, corpus or made_corpus(), events.append)
    return result.record, result.curves, events


def made_model(name="1L_12d_1tok", *, embeddings=None, seed=0, **options):
    """A residual model; `options` are those that differ from the defaults."""
    return RESIDUAL.build(
        Variant.parse(name, family="residual"),
        {option.name: option.default for option in RESIDUAL.options} | options,
        torch.randn(30, 8, generator=torch.Generator().manual_seed(9)) if embeddings is None else embeddings,
        torch.Generator().manual_seed(seed),
    )


def made_windows(count, *, num_input_tokens=1, vocab=30, seed=0):
    """(count, T) windows of a random stream."""
    tokens = torch.randint(vocab, (count,), generator=torch.Generator().manual_seed(seed))
    return token_windows(tokens, num_input_tokens, vocab)


def plain_blocks(model):
    """(context block, token block) of a residual model as layers of the plain protocol: copies, float64, one W."""

    def copy(parameter):
        return parameter.detach().double().clone().requires_grad_()

    def layer(module):
        ff, rest = module.feed_forward, getattr(module, "residual", None)
        return plain.Layer(
            weight=copy(torch.cat([ff.from_a.weight, ff.from_b.weight], dim=1)), bias=copy(ff.from_a.bias),
            gain=copy(module.norm.weight), shift=copy(module.norm.bias),
            residual=(copy(rest.weight), copy(rest.bias)) if isinstance(rest, nn.Linear) else None,
        )

    (block,) = model.context_blocks
    return [layer(module) for module in block], [layer(module) for module in model.token_block]


def random_numbers(count, width, settings, seed):
    """(initial contexts, noise(k, i)) that Phase 1 draws from a generator of this seed, in its order."""
    lanes = [torch.Generator().manual_seed(int(word)) for word in np.random.SeedSequence(seed).generate_state(8)]

    def draw(rows):
        """Rows are dealt out to eight lanes, the first ones getting one more each where eight does not divide them."""
        sizes = [rows // 8 + (lane < rows % 8) for lane in range(8)]
        return torch.cat([
            torch.empty(size, width).normal_(generator=lane) for size, lane in zip(sizes, lanes, strict=True)
        ])

    initial = 0.01 * draw(count)
    noise = {}
    for k in range(2, settings.max_iterations + 1) if settings.context_noise > 0 else ():
        noise[k] = torch.cat([draw(len(batch)) for batch in plain.batches(count, settings.batch_tokens)]).double()
    return initial.double(), lambda k, i: noise[k][i]


class Scripted(nn.Module):
    """A model without weights worth the name: contexts and hidden vectors are what the given functions say."""

    def __init__(self, contexts=None, hidden=None):
        super().__init__()
        self.make, self.say = contexts, hidden
        self.first, self.second = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

    def contexts(self, previous, windows):
        made = self.make(previous, windows)
        made = made if isinstance(made, list) else [made]
        return [layer + 0 * self.first for layer in made]

    def hidden(self, contexts, windows):
        return self.say(contexts, windows) + 0 * self.second

    def phase1_parameters(self):
        return [self.first]

    def phase2_parameters(self):
        return [self.second]


def phase1(model, windows, context_dim, *, seed=1, shortcuts=SHORTCUTS, term=None, **settings):
    """(result, sweeps) of Phase 1."""
    sweeps, contexts = [], torch.empty(len(windows), context_dim)
    shortcuts = tuned(shortcuts)
    with Noise(seed, contexts.device) as noise, fast_products(shortcuts.fast_products, shortcuts.product_library):
        result = learn_contexts(
            model, windows, contexts, Phase1Settings(**settings), noise=noise, autocast=nullcontext,
            report=sweeps.append, shortcuts=shortcuts, term=term,
        )
    return result, sweeps


def phase2(model, train, val, embeddings, *, shortcuts=SHORTCUTS, **settings):
    """(result, epochs) of Phase 2."""
    epochs = []
    with fast_products(shortcuts.fast_products):
        result = learn_tokens(
            model, train, val, Head(embeddings, chunked=shortcuts.chunked_head), Phase2Settings(**settings),
            autocast=nullcontext, report=epochs.append, shortcuts=shortcuts,
        )
    return result, epochs


def made_stream(tokens, *, num_input_tokens=1, vocab=30, layers=None):
    """A stream for Phase 2; without `layers` one of a model without contexts."""
    tokens = torch.as_tensor(tokens)
    return Stream(
        tokens=tokens, windows=token_windows(tokens, num_input_tokens, vocab),
        layers=torch.zeros(0, len(tokens), 1) if layers is None else layers,
    )


def state_of(parameters):
    """Copies of the parameters, to be compared bit for bit."""
    return [parameter.detach().clone() for parameter in parameters]


def same(before, after):
    return all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
