"""What was made to do harm: templates that ask for too much, tokenizers and weights that are not what they say."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

DOUBLED = "{% set x = 1 %}" + "{% set x = [x, x] %}" * 40 + "{% set y = 1 %}" + "{% set y = [y, y] %}" * 40
TEMPLATES = {  # a template, the line it is stopped at, and what the line says
    "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}": (1, "nested too deeply"),
    "\n{{ num_records" + "[0]" * 300 + " }}": (2, "nested too deeply"),
    "\n{{ " + "not " * 3000 + "1 }}": (2, "nested too deeply"),
    "\n{{ " + "1 + " * 3000 + "1 }}": (2, "nested too deeply"),
    "\n{% for a in [1] %}" * 30 + "{% endfor %}" * 30: (22, "nested too deeply"),
    "{% if 1 %}" * 120 + "{% endif %}" * 120: (1, "nested too deeply"),
    "{% macro f() %}\n{{ f() }}{% endmacro %}{{ f() }}": (2, "nested too deeply"),
    "\n{{ " + "9" * 5000 + " }}": (2, "integer string conversion"),
    "\n\n{{ '\\ud800' }}": (3, "surrogates not allowed"),
    "x" * 2**17 + "x": (1, "more than 131,072 characters"),
    "\n{{ 'x' * 10**9 }}": (2, "GiB of memory"),
    "\n{{ '%1000000000d' | format(1) }}": (2, "GiB of memory"),
    "\n{{ 'x' | center(10**9) }}": (2, "GiB of memory"),
    "\n{{ '{:1000000000d}'.format(1) }}": (2, "GiB of memory"),
    "\n{% set name = 'x' | center(10**9) %}{% include name %}": (2, "GiB of memory"),
    "\n{% autoescape 'x' | center(10**9) %}{% endautoescape %}": (2, "autoescape is true or false"),
    "{% set n = namespace(x='xx') %}{% for a in range(99) %}\n{% set n.x = n.x ~ n.x %}{% endfor %}": (
        2, "GiB of memory"),
    "{{ range(10**9) }}": (1, "Range too big"),
    "\n{% for a in range(10**5) %}{% for b in range(10**5) %}{% endfor %}{% endfor %}": (2, "takes more than 0.5 s"),
    "\n{{ lipsum(n=10**6) }}": (2, "takes more than 0.5 s"),
    "{% for a in range(10**5) %}\n{{ '0123456789' * 10 }}{% endfor %}": (2, "takes more than 1 MiB of text"),
    DOUBLED + "\n\n{{ x == y }}": (3, "takes more than 0.5 s"),  # 2**40 comparisons in one operation
}


def limits(source: str) -> dict[str, float]:
    """Limits within which one of TEMPLATES reaches the one that stops it."""
    return {"seconds": 0.5 if "0.5 s" in TEMPLATES[source][1] else 60.0, "memory_gib": 0.25, "output_mib": 1.0}


def ends_as_it_should(source: str, file: Path, error: str) -> bool:
    """Whether the error is one line that names the file, the line and what was too much."""
    line, said = TEMPLATES[source]
    return error.startswith(f"{file}: line {line}: ") and said in error and "\n" not in error


def tokenizer_of(**changed: object) -> bytes:
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []} | changed
    return json.dumps({"version": "1.0", "added_tokens": [], "model": model}).encode()


TOKENIZERS = [
    (b"", "expected a tokenizer.json, found: EOF"),
    (b'{"a":' * 100_000, "expected a tokenizer.json, found: "),
    (json.dumps({"version": "1.0"}).encode(), "expected a tokenizer.json, found: Model missing"),
    (tokenizer_of(merges=[["a", "z"]]), "found: Token `z` out of vocabulary"),
    (tokenizer_of(vocab={"a": -1}), "found: invalid value: integer `-1`"),
    (tokenizer_of(vocab={"a": 2**31}), "token ids up to 2,147,483,648; expected less than 10,000,000"),
    (tokenizer_of(vocab={"a": 10**7}), "token ids up to 10,000,000; expected less than 10,000,000"),
    (tokenizer_of(type="WordLevel", vocab={"a": 0}, unk_token="?"), "cannot encode the text: Exception: WordLevel"),
]
"""Contents, and what is said of each."""


def weights_of(header: object, data: bytes = b"", size: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + data


def tensor(kind: str, *shape: int, at: tuple[int, int] = (0, 32), name: str = "wte.weight") -> dict[str, object]:
    return {name: {"dtype": kind, "shape": list(shape), "data_offsets": list(at)}}


WEIGHTS = [
    (weights_of(b"{}", size=2**63), "expected a safetensors file, found: Error while deserializing header: header too"),
    (weights_of(b"{}", size=1000), "invalid header length"),
    (weights_of(b"[" * 10_000), "expected a safetensors file"),
    (weights_of(tensor("F32", -2, 4), bytes(32)), "expected a safetensors file"),
    (weights_of(tensor("F32", 2**40, 2**40), bytes(32)), "overflow computing buffer size"),
    (weights_of(tensor("F32", 2, 4, at=(0, 64)), bytes(32)), "expected a safetensors file"),
    (weights_of(tensor("F32", 2, 4) | tensor("F32", 2, 4, name="b"), bytes(32)), "invalid offset for tensor"),
    (weights_of(tensor("F99", 2, 4), bytes(32)), "unknown variant `F99`"),
    (weights_of(tensor("I64", 2, 2), bytes(32)), "tensor 'wte.weight' is of type I64; expected one of F64, F32, F16"),
    (weights_of(tensor("BOOL", 2, 16), bytes(32)), "is of type BOOL"),
    (weights_of(tensor("C64", 2, 2), bytes(32)), "is of type C64"),
    (weights_of(tensor("F4", 2, 32), bytes(32)), "is of type F4"),
    (weights_of(tensor("F32", 2, 4), b"\x00\x00\xc0\x7f" * 8), "tensor 'wte.weight' has values that are not finite"),
    (weights_of(tensor("F64", 2, 2), np.full(4, 1e300).tobytes()), "has values that are not finite"),
    (weights_of(tensor("F32", 2, 0, at=(0, 0))), "found no matrix"),
    (weights_of(tensor("F32", 2, 2, at=(0, 16), name="a\n") | tensor("F32", 2, 2, at=(16, 32), name="\x1b[2J"),
                bytes(32)), r"found \u001b[2J, a\u000a"),
]
"""Contents, and what is said of each."""
