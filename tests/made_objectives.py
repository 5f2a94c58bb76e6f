"""Records of a study of objectives, made up, with a truth that is known."""

import json

import numpy as np

from cvfp_analyses.objectives import PUBLISHED
from cvfp_core.schema.records import Record

SEEDS, SIZES = (1, 2, 3), (5000, 20_000)


def record(objective, seed, size, er, ppl, **changed):
    settings = {"phase1": {"mode": "trained", "learning_rate": 0.01,
                           **({} if objective in (None, "mcdl") else {"objective": objective})}}
    return Record(**{
        "run_id": f"{objective}-{seed}-{size}-{changed.get('phase1_mode')}", "experiment": f"study-{objective}",
        "variant": "1L_8d_1tok", "seed": seed, "train_tokens": size, "objective": objective, "val_er": er,
        "val_ppl": ppl, "phase1_iterations": 10, "seconds_iteration": 0.2, "corpus": "made",
        "settings": json.dumps(settings), **changed})


def made(names=tuple(PUBLISHED), seed=0, between=0.0, within=0.0):
    """Records: ranks as published, each with its own log perplexity; both move with objective and seed by chance.

    between, within: log PPL per unit of rank between objectives and between seeds of one.
    """
    rng = np.random.default_rng(seed)
    shared, records = rng.normal(0, 0.02, len(SEEDS)), []
    for name in names:
        own = rng.normal(0, 0.05)
        for i, each in enumerate(SEEDS):
            moved = rng.normal(0, 0.01)
            for size in SIZES:
                log = 8 - 0.3 * np.log(size) + own + between * PUBLISHED.get(name, 0.6) + within * moved + shared[i]
                records.append(record(name, each, size, PUBLISHED.get(name, 0.6) + moved,
                                      float(np.exp(log + rng.normal(0, 0.003)))))
    return records
