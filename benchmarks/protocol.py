"""Tokens per second of each step of the protocol at the published size: vocabulary 50,257, width 768.

    python benchmarks/protocol.py [--variant 1L_768d_1tok ...] [--tokens 20000] [--repeats 3] [--device cpu]

Text and embeddings are made up (Zipf-distributed tokens, random rows): speed does not depend on what they say. Steps
are interleaved and the median is printed, so that a slow minute of the machine hits all of them alike.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch

from cvfp_core.cells import Variant
from cvfp_core.protocol.effective_rank import effective_rank
from cvfp_core.protocol.model import token_windows
from cvfp_core.protocol.phase1 import learn_contexts
from cvfp_core.protocol.phase2 import Stream, evaluate, learn_tokens
from cvfp_core.protocol.stream import layer_outputs, parallel_contexts, sequential_contexts
from cvfp_core.settings import Phase1Settings, Phase2Settings
from cvfp_residual import OPTIONS
from cvfp_residual.model import ResidualModel

VOCABULARY, WIDTH = 50257, 768
EVAL_TOKENS, SEQUENTIAL_TOKENS = 2048, 1024  # enough for a steady rate, few enough to repeat


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", nargs="*", default=["1L_768d_1tok", "1L_768d_2tok"])
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{platform.machine()}, {where}, torch {torch.__version__}, Python {platform.python_version()}")
    print(f"float32 matmul peak: {matmul_peak(device) / 1e9:,.0f} GFLOP/s\n")
    print(f"{'variant':<14} {'step':<34} {'tokens/s':>12}")
    for name in arguments.variant:
        steps = make_steps(name, arguments.tokens, device)
        seconds: dict[str, list[float]] = {label: [] for label in steps}
        for repeat in range(arguments.repeats + 1):
            for label, (_, step) in steps.items():
                started = time.perf_counter()
                step()
                if device.type == "cuda":
                    torch.cuda.synchronize()
                if repeat:  # the first round warms up
                    seconds[label].append(time.perf_counter() - started)
        for label, (tokens, _) in steps.items():
            print(f"{name:<14} {label:<34} {tokens / statistics.median(seconds[label]):>12,.0f}")


def make_steps(name: str, tokens: int, device: torch.device) -> dict[str, tuple[int, Callable[[], object]]]:
    """Per step its label, the tokens it works through, and the work."""
    variant = Variant.parse(name, family="residual")
    if variant is None:
        raise SystemExit(f"unknown variant {name}")
    generator = torch.Generator().manual_seed(0)
    shares = 1.0 / torch.arange(1, VOCABULARY + 1, dtype=torch.float64)
    stream = torch.multinomial(shares, tokens, replacement=True, generator=generator).to(device)
    embeddings = torch.randn(VOCABULARY, WIDTH, generator=generator) * 0.14
    options = {option.name: option.default for option in OPTIONS}
    model = ResidualModel(variant, options, embeddings, generator).to(device)
    embeddings = embeddings.to(device)
    windows = token_windows(stream, variant.num_input_tokens, VOCABULARY)

    def phase1(iterations: int, **changes: object) -> torch.Tensor:
        settings = Phase1Settings(max_iterations=iterations, **changes)  # type: ignore[arg-type]
        noise = torch.Generator(device=device).manual_seed(1)
        return learn_contexts(model, windows, variant.context_dim, settings, generator=noise, autocast=nullcontext,
                              report=lambda _sweep: None).contexts

    contexts = phase1(12, min_iterations=12)  # a trained block forgets its start, as validation expects
    few = windows[: EVAL_TOKENS + 1]
    layers = layer_outputs(model, contexts[: EVAL_TOKENS + 1], few, 5000, nullcontext)
    short = Stream(tokens=stream[: EVAL_TOKENS + 1], windows=few, layers=layers)
    tiny = Stream(tokens=short.tokens[:2], windows=few[:2], layers=layers[:, :2])
    once = Phase2Settings(epochs=1)
    return {
        "phase 1, one iteration": (tokens, lambda: phase1(2)),
        "validation contexts, parallel": (
            tokens, lambda: parallel_contexts(model, windows, variant.context_dim)),
        "validation contexts, sequential": (
            SEQUENTIAL_TOKENS, lambda: sequential_contexts(model, windows[:SEQUENTIAL_TOKENS], variant.context_dim)),
        "effective rank, 10,000 contexts": (10_000, lambda: effective_rank(contexts[:10_000])),
        "phase 2, training": (EVAL_TOKENS, lambda: learn_tokens(
            model, short, tiny, embeddings, once, autocast=nullcontext, report=lambda _epoch: None)),
        "phase 2, evaluation": (EVAL_TOKENS, lambda: evaluate(model, short, embeddings, nullcontext)),
    }


def matmul_peak(device: torch.device, size: int = 2048) -> float:
    """FLOP/s of the best of several square float32 products."""
    a, b = torch.randn(2, size, size, device=device)
    best = float("inf")
    for _ in range(8):
        started = time.perf_counter()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


if __name__ == "__main__":
    main()
