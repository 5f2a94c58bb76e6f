"""Tokens per second of each step of the protocol at the published size, beside what its products alone would allow.

    python benchmarks/protocol.py [--variant 1L_768d_1tok ...] [--tokens 20000] [--repeats 3] [--device cpu]
    python benchmarks/protocol.py --variant 1L_128d_1tok --vocabulary 2048 --width 128 --val 10115  # the default run

Text and embeddings are made up (Zipf-distributed tokens, random rows): speed does not depend on what they say. All
steps take turns, each followed by the best square product of the moment. The bound is what a step's own products would
take at that speed, in the precision that they are made in, and the eigenvalues with them; the share is the median of
bound over time, turn by turn. With one thread seconds are those of the CPU, which a busy machine stretches less, else
those of the clock.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise

import torch

from cvfp_core.protocol.effective_rank import STRIPS, effective_rank
from cvfp_core.protocol.head import Head
from cvfp_core.protocol.model import sharing, token_windows
from cvfp_core.protocol.noise import Noise
from cvfp_core.protocol.phase1 import learn_contexts
from cvfp_core.protocol.phase2 import Stream, evaluate, learn_tokens
from cvfp_core.protocol.processor import processor
from cvfp_core.protocol.products import fast_products, product
from cvfp_core.protocol.stream import layer_outputs, parallel_contexts, sequential_contexts
from cvfp_core.protocol.tuning import tuned
from cvfp_core.schema.cells import Variant
from cvfp_core.schema.settings import Phase1Settings, Phase2Settings, Shortcuts
from cvfp_residual import OPTIONS
from cvfp_residual.model import ResidualModel
from cvfp_residual.size import token_widths

PHASE2_TOKENS, SEQUENTIAL_TOKENS, RANK_TOKENS = 2048, 512, 10_000  # enough for a steady rate, few enough to repeat
WAYS = {"plain": Shortcuts.none(), "fast": tuned(Shortcuts()), "bf16": tuned(Shortcuts())}
TARGETS = {"phase 1, iteration": 0.85, "validation contexts": 0.75, "effective rank": 0.85, "phase 2, training": 0.92,
           "phase 2, evaluation": 0.92}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A piece of work: how many tokens, the operations of its products and their precision."""

    tokens: int
    work: Callable[[], object]
    operations: float
    dtype: torch.dtype = torch.float32
    timer: Callable[[], float] | None = None
    """Measures a part of the work instead."""
    beside: Callable[[], object] | None = None
    """What the bound holds besides products."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Seconds a step took, and those of its bound in the same moment."""

    seconds: float
    bound: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", nargs="*", default=["1L_768d_1tok", "1L_768d_2tok", "3L_768d_2tok"])
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--val", type=int, default=31_024, help="tokens of validation, by default as published")
    parser.add_argument("--vocabulary", type=int, default=50_257)
    parser.add_argument("--width", type=int, default=768, help="of the embeddings")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default="", help="steps whose name contains this")
    parser.add_argument("--ways", nargs="*", default=["plain", "fast", "bf16"])
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{processor()}, {where}, torch {torch.__version__}, Python {platform.python_version()}\n")
    print(f"{'variant':<14} {'step':<20} {'way':<5} {'tokens/s':>9} {'to plain':>8} {'bound':>9} {'share':>6} "
          f"{'target':>7}")
    for name in arguments.variant:
        made = {
            (step, way): each
            for way in arguments.ways
            for step, each in make_steps(name, arguments, device, WAYS[way], half=way == "bf16").items()
            if arguments.only in step
        }
        turns: dict[tuple[str, str], list[Turn]] = {key: [] for key in made}
        peaks: dict[torch.dtype, list[float]] = {}
        for repeat in range(arguments.repeats + 1):
            for key, step in made.items():
                with fast_products(key[1] != "plain"):
                    seconds = timed(step.work, device) if step.timer is None else step.timer()
                beside = 0.0 if step.beside is None else timed(step.beside, device)
                peak = matmul_peak(device, step.dtype)
                if repeat:  # the first round warms up
                    turns[key].append(Turn(seconds=seconds, bound=step.operations / peak + beside))
                    peaks.setdefault(step.dtype, []).append(peak)
        plain: dict[str, float] = {}
        for (label, way), step in made.items():
            rate, bound = (step.tokens / statistics.median(getattr(turn, part) for turn in turns[label, way])
                           for part in ("seconds", "bound"))
            share = statistics.median(turn.bound / turn.seconds for turn in turns[label, way])
            print(f"{name:<14} {label:<20} {way:<5} {rate:>9,.0f} {rate / plain.setdefault(label, rate):>7.2f}x "
                  f"{bound:>9,.0f} {share:>6.0%} {TARGETS[label]:>7.0%}", flush=True)
        print(f"{name:<14} best product: " + ", ".join(
            f"{statistics.median(each) / 1e9:,.0f} GFLOP/s in {str(dtype).removeprefix('torch.')}"
            for dtype, each in peaks.items()), flush=True)


def make_steps(
    name: str, asked: argparse.Namespace, device: torch.device, shortcuts: Shortcuts, *, half: bool = False
) -> dict[str, Step]:
    """The steps by name; half: products in bfloat16."""
    variant = Variant.parse(name, family="residual")
    if variant is None:
        raise SystemExit(f"unknown variant {name}")
    layers, window, context_dim = variant.num_layers, variant.num_input_tokens, variant.context_dim
    tokens, vocabulary, width = asked.tokens, asked.vocabulary, asked.width
    generator = torch.Generator().manual_seed(0)
    shares = 1.0 / torch.arange(1, vocabulary + 1, dtype=torch.float64)
    drawn = torch.multinomial(shares, tokens + asked.val, replacement=True, generator=generator).to(device)
    stream, val_stream = drawn[:tokens], drawn[tokens:]
    embeddings = torch.randn(vocabulary, width, generator=generator) * 0.14
    options = {option.name: option.default for option in OPTIONS}
    model = ResidualModel(variant, options, embeddings, generator).to(device)
    head = Head(embeddings.to(device), chunked=shortcuts.chunked_head, half=half, words=shortcuts.words_at_once)
    windows = token_windows(stream, window, vocabulary)
    contexts = torch.empty(layers, tokens, context_dim, device=device)
    val_windows = token_windows(val_stream, window, vocabulary)
    val_contexts = torch.empty(asked.val, context_dim, device=device)
    share = sharing(model, val_windows, allowed=shortcuts.token_parts)

    def autocast():  # type: ignore[no-untyped-def]
        return torch.autocast(device.type, dtype=torch.bfloat16) if half else nullcontext()

    def phase1(iterations: int, heard: list[float] | None = None, **changes: object) -> None:
        settings = Phase1Settings(max_iterations=iterations, **changes)  # type: ignore[arg-type]
        ends = [] if heard is None else heard
        clock = clock_of(device)
        with Noise(1, device) as noise:
            learn_contexts(model, windows, contexts[-1], settings, noise=noise, autocast=autocast,
                           report=lambda _sweep: ends.append(clock()), shortcuts=shortcuts)

    def one_iteration() -> float:
        """Seconds between the ends of two iterations: without the first draw of the contexts."""
        ends = []
        phase1(3, heard=ends)
        return ends[1] - ends[0]

    def validate() -> None:
        with share():
            if shortcuts.parallel_validation:
                made = parallel_contexts(model, val_windows, context_dim, val_contexts)
                assert made.passes is not None
            else:
                sequential_contexts(model, val_windows[:SEQUENTIAL_TOKENS], context_dim,
                                    val_contexts[:SEQUENTIAL_TOKENS])

    phase1(12, min_iterations=12)  # a trained block forgets its start, as validation expects
    cached = contexts.clone()
    layer_outputs(model, cached, windows, 5000, nullcontext)
    count = PHASE2_TOKENS + 1
    short = Stream(tokens=stream[:count], windows=windows[:count], layers=cached[:, :count])
    tiny = Stream(tokens=short.tokens[:2], windows=windows[:2], layers=cached[:, :2])

    def train() -> None:
        learn_tokens(model, short, tiny, head, Phase2Settings(epochs=1), autocast=autocast,
                     report=lambda _epoch: None, shortcuts=shortcuts)

    distinct, val_distinct = (
        len(each.unique()) / len(each) if shortcuts.token_parts else 1.0 for each in (stream, val_stream)
    )
    square, of_window = context_dim**2, window * width * context_dim
    # forward 2 and weights 2 a parameter; gradients of inputs 2, which the first layer of a block does not need
    context = (4 * layers + 2 * (layers - 1)) * square
    widths = token_widths(window * width, width, layers)
    inner = 2 * sum((1 + (a != b)) * a * b for a, b in pairwise(widths[1:]))  # phase 2: of the layers' inputs
    token_block = sum(parameter.numel() for parameter in model.token_block.parameters())
    logits = 2 * vocabulary * width
    validated = asked.val if shortcuts.parallel_validation else SEQUENTIAL_TOKENS
    ranked = min(RANK_TOKENS, tokens)
    rank = 2 * ranked * square * ((STRIPS + 1) / (2 * STRIPS) if shortcuts.blocked_rank else 1)  # it is symmetric
    gram = contexts[-1, :ranked].double().T @ contexts[-1, :ranked].double()
    narrow = torch.bfloat16 if half else torch.float32
    steps = {
        "phase 1, iteration": Step(tokens=tokens, work=one_iteration, timer=one_iteration, dtype=narrow,
                                   operations=tokens * (context + distinct * 4 * layers * of_window)),
        "validation contexts": Step(tokens=validated, work=validate,
                                    operations=validated * 2 * layers * (square + val_distinct * of_window)),
        "effective rank": Step(
            tokens=ranked, operations=rank, beside=lambda: torch.linalg.eigvalsh(gram.cpu(), UPLO="U"),
            work=lambda: effective_rank(contexts[-1, :ranked], blocked=shortcuts.blocked_rank)),
        "phase 2, training": Step(tokens=PHASE2_TOKENS, work=train, dtype=narrow,
                                  operations=PHASE2_TOKENS * (4 * token_block + inner + 2 * logits)),
        "phase 2, evaluation": Step(tokens=PHASE2_TOKENS, dtype=narrow,
                                    work=lambda: evaluate(model, short, head, autocast),
                                    operations=PHASE2_TOKENS * (2 * token_block + logits)),
    }
    return {label: step for label, step in steps.items() if not half or label != "effective rank"}


def clock_of(device: torch.device) -> Callable[[], float]:
    return time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds, until the device is done."""
    clock = clock_of(device)
    started = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - started


def matmul_peak(device: torch.device, dtype: torch.dtype, size: int = 1536) -> float:
    """FLOP/s of the best of several square products, by the faster of the libraries at hand."""
    a, b = torch.randn(2, size, size, device=device).to(dtype)
    ways = (lambda: a @ b, lambda: product(a, b))
    return 2 * size**3 / min(timed(way, device) for way in ways for _ in range(4))


if __name__ == "__main__":
    main()
