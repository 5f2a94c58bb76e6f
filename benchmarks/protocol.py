"""Tokens per second of each step of the protocol at the published size, the plain computation beside the fast one.

    python benchmarks/protocol.py [--variant 1L_768d_1tok ...] [--tokens 20000] [--repeats 3] [--device cpu]

Text and embeddings are made up (Zipf-distributed tokens of a vocabulary of 50,257, random rows 768 wide): speed does
not depend on what they say. All steps take turns and medians are printed, so that a slow minute of the machine hits all
of them alike. Shares are of the best float32 product of the same minutes: in the operations of the original code
(`W [c; u]` for every token), and in those that this code carries out.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from cvfp_core.protocol.effective_rank import effective_rank
from cvfp_core.protocol.head import Head
from cvfp_core.protocol.model import sharing, token_windows
from cvfp_core.protocol.noise import Noise
from cvfp_core.protocol.phase1 import learn_contexts
from cvfp_core.protocol.phase2 import Stream, evaluate, learn_tokens
from cvfp_core.protocol.products import fast_products, product
from cvfp_core.protocol.stream import layer_outputs, parallel_contexts, sequential_contexts
from cvfp_core.schema.cells import Variant
from cvfp_core.schema.settings import Phase1Settings, Phase2Settings, Shortcuts
from cvfp_residual import OPTIONS
from cvfp_residual.model import ResidualModel

VOCABULARY, WIDTH = 50257, 768
VAL_TOKENS = 31_024  # of the published experiments
PHASE2_TOKENS, SEQUENTIAL_TOKENS, RANK_TOKENS = 2048, 512, 10_000  # enough for a steady rate, few enough to repeat
WAYS = {"plain": Shortcuts.none(), "fast": Shortcuts(), "bf16": Shortcuts()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A piece of work: how many tokens, their operations in the original's and in this code's count."""

    tokens: int
    work: Callable[[], object]
    original: float
    own: float
    timer: Callable[[], float] | None = None
    """Measures a part of the work instead."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", nargs="*", default=["1L_768d_1tok", "1L_768d_2tok", "3L_768d_2tok"])
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default="", help="steps whose name contains this")
    parser.add_argument("--ways", nargs="*", default=["plain", "fast", "bf16"])
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{platform.machine()}, {where}, torch {torch.__version__}, Python {platform.python_version()}\n")
    print(f"{'variant':<14} {'step':<22} {'way':<6} {'tokens/s':>10} {'to plain':>9} {'original op.':>13} "
          f"{'own op.':>8}")
    for name in arguments.variant:
        made = {
            (step, way): each
            for way in arguments.ways
            for step, each in make_steps(name, arguments.tokens, device, WAYS[way], half=way == "bf16").items()
            if arguments.only in step
        }
        seconds: dict[tuple[str, str], list[float]] = {key: [] for key in made}
        peaks: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
        for repeat in range(arguments.repeats + 1):
            for key, step in made.items():
                with fast_products(key[1] != "plain"):
                    taken = timed(step.work, device) if step.timer is None else step.timer()
                if repeat:  # the first round warms up
                    seconds[key].append(taken)
            for dtype, measured in peaks.items():
                measured.append(matmul_peak(device, dtype))
        peak, half_peak = (statistics.median(measured) for measured in peaks.values())
        for (label, way), step in made.items():
            taken = statistics.median(seconds[label, way])
            first = next(key for key in made if key[0] == label)
            plain = made[first].tokens / statistics.median(seconds[first])
            print(f"{name:<14} {label:<22} {way:<6} {step.tokens / taken:>10,.0f} {step.tokens / taken / plain:>8.2f}x "
                  f"{step.original / taken / peak:>12.0%} {step.own / taken / peak:>8.0%}", flush=True)
        print(f"{name:<14} best product: {peak / 1e9:,.0f} GFLOP/s in float32, {half_peak / 1e9:,.0f} in bfloat16",
              flush=True)


def make_steps(
    name: str, tokens: int, device: torch.device, shortcuts: Shortcuts, *, half: bool = False
) -> dict[str, Step]:
    """The steps by name; half: products in bfloat16."""
    variant = Variant.parse(name, family="residual")
    if variant is None:
        raise SystemExit(f"unknown variant {name}")
    layers, window = variant.num_layers, variant.num_input_tokens
    generator = torch.Generator().manual_seed(0)
    shares = 1.0 / torch.arange(1, VOCABULARY + 1, dtype=torch.float64)
    drawn = torch.multinomial(shares, tokens + VAL_TOKENS, replacement=True, generator=generator).to(device)
    stream, val_stream = drawn[:tokens], drawn[tokens:]
    embeddings = torch.randn(VOCABULARY, WIDTH, generator=generator) * 0.14
    options = {option.name: option.default for option in OPTIONS}
    model = ResidualModel(variant, options, embeddings, generator).to(device)
    head = Head(embeddings.to(device), chunked=shortcuts.chunked_head, half=half)
    windows = token_windows(stream, window, VOCABULARY)
    contexts = torch.empty(layers, tokens, WIDTH, device=device)
    val_windows = token_windows(val_stream, window, VOCABULARY)
    val_contexts = torch.empty(VAL_TOKENS, WIDTH, device=device)
    share = sharing(model, val_windows, allowed=shortcuts.token_parts)

    def autocast():  # type: ignore[no-untyped-def]
        return torch.autocast(device.type, dtype=torch.bfloat16) if half else nullcontext()

    def phase1(iterations: int, heard: list[float] | None = None, **changes: object) -> None:
        settings = Phase1Settings(max_iterations=iterations, **changes)  # type: ignore[arg-type]
        ends = [] if heard is None else heard
        with Noise(1, device) as noise:
            learn_contexts(model, windows, contexts[-1], settings, noise=noise, autocast=autocast,
                           report=lambda _sweep: ends.append(time.perf_counter()), shortcuts=shortcuts)

    def one_iteration() -> float:
        """Seconds between the ends of two iterations: without the first draw of the contexts."""
        ends = []
        phase1(3, heard=ends)
        return ends[1] - ends[0]

    def validate() -> None:
        with share():
            if shortcuts.parallel_validation:
                made = parallel_contexts(model, val_windows, WIDTH, val_contexts)
                assert made.passes is not None
            else:
                sequential_contexts(model, val_windows[:SEQUENTIAL_TOKENS], WIDTH, val_contexts[:SEQUENTIAL_TOKENS])

    phase1(12, min_iterations=12)  # a trained block forgets its start, as validation expects
    cached = contexts.clone()
    layer_outputs(model, cached, windows, 5000, nullcontext)
    count = PHASE2_TOKENS + 1
    short = Stream(tokens=stream[:count], windows=windows[:count], layers=cached[:, :count])
    tiny = Stream(tokens=short.tokens[:2], windows=windows[:2], layers=cached[:, :2])

    def train() -> None:
        learn_tokens(model, short, tiny, head, Phase2Settings(epochs=1), autocast=autocast,
                     report=lambda _epoch: None, shortcuts=shortcuts)

    block = WIDTH * WIDTH
    distinct, val_distinct = (
        len(each.unique()) / len(each) if shortcuts.token_parts else 1.0 for each in (stream, val_stream)
    )
    # forward 2 and weights 2 a parameter; gradients of inputs 2, which the first layer of a block does not need
    context = 4 * layers * block + 2 * (layers - 1) * block
    of_tokens = 4 * layers * window * block
    inner = 2 * block * (1 + layers) if layers > 1 else 0  # phase 2: gradients with respect to the layers' inputs
    token_block = sum(parameter.numel() for parameter in model.token_block.parameters())
    logits = 2 * VOCABULARY * WIDTH
    sweep = tokens * (context + of_tokens), tokens * (context + distinct * of_tokens)
    along = layers * block * 2
    validated = VAL_TOKENS if shortcuts.parallel_validation else SEQUENTIAL_TOKENS
    rank = 2 * RANK_TOKENS * block
    own_rank = rank * 2 / 3 if shortcuts.blocked_rank else rank  # of a symmetric matrix, in three strips
    steps = {
        "phase 1, iteration": Step(tokens=tokens, work=one_iteration, timer=one_iteration,
                                   original=sweep[0], own=sweep[1]),
        "validation contexts": Step(tokens=validated, work=validate, original=validated * along * (1 + window),
                                    own=validated * along * (1 + val_distinct * window)),
        "effective rank": Step(tokens=RANK_TOKENS, original=rank, own=own_rank, work=lambda: effective_rank(
            contexts[-1, :RANK_TOKENS], blocked=shortcuts.blocked_rank)),
        "phase 2, training": Step(tokens=PHASE2_TOKENS, work=train,
                                  original=PHASE2_TOKENS * (4 * token_block + inner + 2 * logits),
                                  own=PHASE2_TOKENS * (4 * token_block + inner + 2 * logits)),
        "phase 2, evaluation": Step(tokens=PHASE2_TOKENS, work=lambda: evaluate(model, short, head, autocast),
                                    original=PHASE2_TOKENS * (2 * token_block + logits),
                                    own=PHASE2_TOKENS * (2 * token_block + logits)),
    }
    return {label: step for label, step in steps.items() if not half or label != "effective rank"}


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds, until the device is done."""
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def matmul_peak(device: torch.device, dtype: torch.dtype, size: int = 1536) -> float:
    """FLOP/s of the best of several square products, by the faster of the libraries at hand."""
    a, b = torch.randn(2, size, size, device=device).to(dtype)
    ways = (lambda: a @ b, lambda: product(a, b))
    return 2 * size**3 / min(timed(way, device) for way in ways for _ in range(4))


if __name__ == "__main__":
    main()
