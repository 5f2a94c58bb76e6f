"""Records for the tests of laws: made up, or read from the shared logs where those are."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from cvfp_core.schema.records import Record, frame

SHARED = Path(os.environ.get("CVFP_SHARED", Path(__file__).parents[1].parent / "shared")) / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data folder is not there (CVFP_SHARED)")


def made(tokens, ppl, *, experiment="e", variant="1L_64d_1tok", seeds=None, **columns):
    """Records of one series, a run for each value."""
    seeds = range(len(tokens)) if seeds is None else seeds
    return frame(
        Record(run_id=f"{experiment}-{variant}-{i}", experiment=experiment, variant=variant, seed=seed,
               train_tokens=int(t), val_ppl=float(y), **{k: v[i] for k, v in columns.items()})
        for i, (t, y, seed) in enumerate(zip(tokens, ppl, seeds, strict=True))
    )


def power(tokens, *, alpha=-0.5, a=1e5, floor=0.0, noise=0.0, seed=0):
    """Perplexities of a law with multiplicative normal noise."""
    rng = np.random.default_rng(seed)
    tokens = np.asarray(tokens, dtype=float)
    return (floor + a * tokens**alpha) * np.exp(noise * rng.standard_normal(len(tokens)))


def newllm():
    """The 34 records the golden values were computed from."""
    rows = []
    for label, folder in (("v1", "1130_context_dim"), ("v2", "1130_v2"), ("v3", "1130_v3"), ("v4", "1130_v4")):
        for row in json.loads((SHARED / "newllm" / folder / "detailed_results.json").read_text()):
            columns = ("config_name", "train_tokens", "val_ppl", "train_er", "val_er")
            rows.append((label, *(row[name] for name in columns)))
    rows = [*_matrix(), *rows]
    return frame(
        Record(run_id=f"{e}-{v}-{t}", experiment=e, variant=v, train_tokens=t, val_ppl=p, train_er=a, val_er=b)
        for e, v, t, p, a, b in rows
    )


def _matrix():
    """v1's 1L_768d_1tok, from the console log of the matrix."""
    text = (SHARED / "newllm" / "1130_all.txt").read_text(errors="replace")
    text = text[: text.index("num_layers=2, context_dim=768")]
    tokens = [int(each) for each in re.findall(r"Train: (\d+) tokens", text)]
    ranks = re.findall(r"ER: train=([\d.]+)%, val=([\d.]+)%", text)
    ppl = re.findall(r"Result: PPL=([\d.]+)", text)
    return [("v1", "1L_768d_1tok", t, float(p), float(a) / 100, float(b) / 100)
            for t, p, (a, b) in zip(tokens, ppl, ranks, strict=True)]
