"""Frozen embeddings: PPMI and a truncated SVD of co-occurrences, random rows, or a tensor of a model file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError, safe_open

from cvfp_core.errors import UsageError, one_line

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

WINDOW = 2
"""Neighbours on each side that count as co-occurring."""

BLOCK = 4_000_000
"""Tokens counted at once; bounds the memory to some 100 MB beside the counts themselves."""

ENDINGS = ("wte.weight", "embed_tokens.weight", "word_embeddings.weight", "embed_in.weight", "tok_embeddings.weight")
"""What models call their input embedding: GPT-2, Llama and its kin, BERT and BLOOM, Pythia, Llama's first release."""

_SMALL = ("BF16", "F8_E4M3", "F8_E5M2")
"""Types of floating point that numpy has not."""


def co_occurrences(tokens: np.ndarray, vocab_size: int, window: int = WINDOW) -> csr_matrix:
    """(V, V) counts of ordered pairs at most `window` apart, both ways round."""
    from scipy.sparse import coo_matrix, csr_matrix

    counts = csr_matrix((vocab_size, vocab_size))
    for start in range(0, len(tokens), BLOCK):
        for distance in range(1, window + 1):
            right = tokens[start + distance : start + distance + BLOCK]
            left = tokens[start : start + len(right)]
            counts += coo_matrix((np.ones(len(left)), (left, right)), shape=counts.shape).tocsr()
    return (counts + counts.T).tocsr()


def positive_pmi(counts: csr_matrix) -> csr_matrix:
    """max(0, log(p(a, b) / (p(a) p(b)))) where a and b co-occur, else 0. Source: Levy & Goldberg 2014."""
    totals = np.asarray(counts.sum(axis=1)).ravel()
    pairs = counts.tocoo()
    pmi = np.log(pairs.data * totals.sum() / (totals[pairs.row] * totals[pairs.col]))
    positive = pairs.copy()
    positive.data = np.maximum(pmi, 0.0)
    result = positive.tocsr()
    result.eliminate_zeros()
    return result


def ppmi_svd(tokens: np.ndarray, vocab_size: int, embed_dim: int) -> np.ndarray:
    """(V, embed_dim) float32, unit rows: U S of the truncated SVD of the PPMI matrix of a token stream.

    Unit rows make initial logits of order one: the output is layer-normed, so its entries have variance one, and so
    has its product with a unit vector, whatever the width (measured on the embedded text: standard deviation 0.99).
    U S rather than U sqrt(S) or U: perplexities of a bigram network on the embedded text, 64,000 tokens, were 125, 132
    and 144 (random rows: 743).
    A token the text does not contain gets a random row. Signs are fixed; the last bits may differ between machines.
    Raises UsageError when the matrix has fewer directions.
    """
    from scipy.sparse.linalg import ArpackNoConvergence, eigsh
    from threadpoolctl import threadpool_limits

    if embed_dim >= vocab_size:
        raise UsageError(
            f"corpus option 'embed_dim' is {embed_dim}: an SVD of {vocab_size} x {vocab_size} co-occurrences has fewer "
            "directions; make it smaller, or set embeddings = \"random\""
        )
    matrix = positive_pmi(co_occurrences(tokens, vocab_size))
    if matrix.nnz == 0:
        raise _too_wide(embed_dim, 0)
    # The matrix is symmetric: its singular vectors are its eigenvectors, its singular values their magnitudes.
    # One thread: the thousands of small products of Lanczos take 0.2 s alone and 11 s waiting for threads of a busy
    # machine; and the bits no longer depend on the number of threads.
    try:
        with threadpool_limits(1):
            if vocab_size < 4 * embed_dim:  # Lanczos needs room
                values, vectors = np.linalg.eigh(matrix.toarray())
            else:
                values, vectors = eigsh(matrix, k=embed_dim, which="LM", v0=np.ones(vocab_size))
    except ArpackNoConvergence as error:
        raise _too_wide(embed_dim, len(error.eigenvalues)) from error
    largest = np.argsort(-np.abs(values), kind="stable")[:embed_dim]
    values, vectors = values[largest], vectors[:, largest]
    directions = int(np.sum(np.abs(values) > 1e-9 * abs(values[0])))
    if directions < embed_dim:
        raise _too_wide(embed_dim, directions)
    peaks = vectors[np.abs(vectors).argmax(axis=0), np.arange(embed_dim)]
    rows = vectors * np.abs(values) * np.sign(peaks)  # (V, embed_dim)
    unseen = np.diff(matrix.indptr) == 0
    rows[unseen] = random_rows(vocab_size, embed_dim, seed=0)[unseen]
    return _unit(rows)


def _too_wide(embed_dim: int, directions: int) -> UsageError:
    return UsageError(
        f"corpus option 'embed_dim' is {embed_dim}, but the co-occurrences of the training text have only "
        f"{directions} directions; make it smaller, give more text, or set embeddings = \"random\""
    )


def random_rows(vocab_size: int, embed_dim: int, *, seed: int) -> np.ndarray:
    """(V, embed_dim) float32, unit rows of random direction; the control for embeddings that know something.

    The stream is PCG64's and the normals are Box-Muller's, so that numpy's release does not change them.
    """
    uniform = np.random.Generator(np.random.PCG64(seed % 2**64)).random((2, vocab_size, embed_dim))
    return _unit(np.sqrt(-2 * np.log1p(-uniform[0])) * np.cos(2 * np.pi * uniform[1]))


def _unit(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, np.finfo(np.float64).tiny), dtype=np.float32)


def read_table(files: Sequence[Path], asked: str) -> np.ndarray:
    """(V, embed_dim) float32: the input embedding in a model's safetensors files, as it is.

    It is the tensor with one of the names in ENDINGS, or else the only matrix there is. Raises UsageError otherwise.
    """
    matrices: dict[str, Path] = {}
    for file in files:
        try:
            with safe_open(file, framework="np") as tensors:
                for name in tensors.keys():  # noqa: SIM118 (not a dict)
                    shape = tensors.get_slice(name).get_shape()
                    if len(shape) == 2 and all(shape):
                        matrices[name] = file
        except (OSError, SafetensorError) as error:
            raise UsageError(f"{file}: expected a safetensors file, found: {' '.join(str(error).split())}") from error
    named = [name for name in matrices if name.endswith(ENDINGS)]
    candidates = named or list(matrices)
    if len(candidates) != 1:
        found = one_line(", ".join(sorted(candidates)[:8]), 500) or "no matrix"
        raise UsageError(
            f"embeddings {asked}: expected one tensor named like {', '.join(ENDINGS)}, found {found}"
        )
    table = _tensor(matrices[candidates[0]], candidates[0], asked)
    if not np.isfinite(table).all():
        raise UsageError(f"embeddings {asked}: tensor '{one_line(candidates[0], 200)}' has values that are not finite")
    return table


def _tensor(file: Path, name: str, asked: str) -> np.ndarray:
    with safe_open(file, framework="np") as tensors:
        kind = tensors.get_slice(name).get_dtype()
        if kind in ("F16", "F32", "F64"):
            with np.errstate(over="ignore"):  # what is too large is refused as not finite
                return np.ascontiguousarray(tensors.get_tensor(name), dtype=np.float32)
    if kind not in _SMALL:
        raise UsageError(f"embeddings {asked}: tensor '{one_line(name, 200)}' is of type {kind}; expected one of F64, "
                         f"F32, F16, {', '.join(_SMALL)}")
    with safe_open(file, framework="pt") as tensors:
        return np.ascontiguousarray(tensors.get_tensor(name).float().numpy())
