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

# Plugins --------------------------------------------------------------------------------------------------------------

FAMILY = '''
import os, random, signal, sys, time, warnings
import numpy as np
import torch
from torch import nn
from cvfp_core import hookimpl
from cvfp_core.registry.kinds import VariantFamily
from cvfp_core.schema.cells import Variant

def drawn(generator, *shape):
    return nn.Parameter(torch.randn(shape, generator=generator) / shape[-1] ** 0.5)

class Model(nn.Module):
    def __init__(self, variant, embeddings, generator):
        super().__init__()
        width, embed_dim = variant.context_dim, embeddings.shape[1]
        self.register_buffer("table", torch.cat([embeddings, embeddings.new_zeros(1, embed_dim)]))
        self.block = drawn(generator, width, width + embed_dim)
        self.token = drawn(generator, embed_dim, width + embed_dim)
        self.calls = 0
        BUILD

    def contexts(self, previous, windows):
        self.calls += 1
        made = torch.tanh(torch.cat([previous, self.table[windows[:, -1]]], dim=1) @ self.block.T)
        CONTEXTS
        return [made]

    def hidden(self, contexts, windows):
        made = torch.cat([contexts[-1], self.table[windows[:, -1]]], dim=1) @ self.token.T
        HIDDEN
        return made

    def phase1_parameters(self):
        return PARAMETERS

    def phase2_parameters(self):
        return [self.token]

@hookimpl
def cvfp_variants():
    return [VariantFamily(name="odd", title="made", form="odd_{L}L_{d}d_{T}tok",
                          parse=lambda name: Variant.parse(name, family="odd", prefix="odd_"),
                          build=lambda variant, options, embeddings, generator: Model(variant, embeddings, generator))]
'''


def family(build: str = "pass", contexts: str = "pass", hidden: str = "pass", parameters: str = "[self.block]") -> str:
    """A plugin with family `odd`, which does well but for these lines of its model."""
    given = {"BUILD": build, "CONTEXTS": contexts, "HIDDEN": hidden, "PARAMETERS": parameters}
    code = FAMILY
    for name, lines in given.items():
        code = code.replace(name, lines.replace("\n", "\n        "))
    return code


SHAPE = "a tensor ({rows}, {width}), floating-point on cpu"
GRADIENT = "without a gradient; expected one that torch computed from the parameters of its phase, not detached"
RETURNED = {  # in place of a tensor of (rows, width): what is said of it; None: it is as good
    "None": f"returned NoneType; expected {SHAPE}",
    "3.0": f"returned float; expected {SHAPE}",
    "'text'": f"returned str; expected {SHAPE}",
    "(made, made)": f"returned tuple; expected {SHAPE}",
    "[made]": f"returned list; expected {SHAPE}",
    "made.detach().numpy()": f"returned ndarray; expected {SHAPE}",
    "made[:0]": f"returned a tensor (0, {{width}}), float32 on cpu; expected {SHAPE}",
    "made[:1]": f"returned a tensor (1, {{width}}), float32 on cpu; expected {SHAPE}",
    "made.T": f"returned a tensor ({{width}}, {{rows}}), float32 on cpu; expected {SHAPE}",
    "made[:, :1]": f"returned a tensor ({{rows}}, 1), float32 on cpu; expected {SHAPE}",
    "made.unsqueeze(0)": f"returned a tensor (1, {{rows}}, {{width}}), float32 on cpu; expected {SHAPE}",
    "made.sum()": f"returned a tensor (), float32 on cpu; expected {SHAPE}",
    "made.long()": f"returned a tensor ({{rows}}, {{width}}), int64 on cpu; expected {SHAPE}",
    "made > 0": f"returned a tensor ({{rows}}, {{width}}), bool on cpu; expected {SHAPE}",
    "made.to(torch.complex64)": f"returned a tensor ({{rows}}, {{width}}), complex64 on cpu; expected {SHAPE}",
    "made.to_sparse()": f"returned a sparse_coo tensor ({{rows}}, {{width}}), float32 on cpu; expected {SHAPE}",
    "made.to('meta')": f"returned a tensor ({{rows}}, {{width}}), float32 on meta; expected {SHAPE}",
    "made.detach()": f"returned a tensor {GRADIENT}",
    "torch.zeros_like(made)": f"returned a tensor {GRADIENT}",
    "made.double()": None,
    "made.half()": None,
    "made.bfloat16()": None,
}
LISTS = {  # what `contexts` returns in place of a list of one layer: what is said of it
    "None": "contexts() returned NoneType; expected a list of tensors, one for every layer",
    "made": "contexts() returned a tensor ({rows}, {width}), float32 on cpu; expected a list of tensors",
    "[]": "contexts() returned an empty list; expected a list of tensors",
    "[made, made]": "contexts() returned 2 tensors; expected 1, one a layer",
    "(made,)": None,
    "made.unsqueeze(0)": None,
}
DIVERGING = ("made * float('nan')", "made * float('inf')")
WRITING = {  # lines of `contexts`: what is said of them
    "previous.mul_(0.5)": "contexts() wrote into a tensor that it was given",
    "windows.fill_(0)": "contexts() wrote into a tensor that it was given",
    "self.block.data = torch.ones(9, 24); self.block.grad = None": "a parameter has another shape, dtype or device",
    "self.block.data = self.block.data.double()": "expected",
}
PARAMETERS = {
    "None": "phase1_parameters() returned NoneType; expected parameters",
    "[]": "there are no parameters to train; expected some for the phase",
    "['block']": "phase1_parameters() has str; expected parameters, floating-point on cpu",
    "[self.block, self.block]": "phase1_parameters() has a parameter twice",
    "[self.block.to('meta')]": "phase1_parameters() has a tensor (8, 24), float32 on meta",
    "[self.block * 1]": "phase1_parameters() has a tensor (8, 24), float32 on cpu; expected parameters",
    "[self.block.long()]": "phase1_parameters() has a tensor (8, 24), int64 on cpu",
}
RAISED = {  # lines of a model: what the reason of its record says
    "raise ValueError('no')": "failed: ValueError: no (", "sys.exit()": "failed: SystemExit: (",
    "raise KeyboardInterrupt": "failed: KeyboardInterrupt: (", "raise GeneratorExit": "failed: GeneratorExit: (",
    "raise BrokenPipeError": "failed: BrokenPipeError: (", "raise StopIteration": "failed: StopIteration: (",
    "raise EOFError": "failed: EOFError: (", "raise OSError(28, 'full')": "failed: OSError: [Errno 28] full (",
    "raise MemoryError": "out of memory on cpu", "return self.contexts(previous, windows)": "failed: RecursionError: ",
}
CHANGES = {  # lines that change the process: what is said of them; None: nothing that the next cell would notice
    "torch.set_default_dtype(torch.float64)": "torch's default dtype from torch.float32 to torch.float64",
    "torch.set_default_device('meta')": "torch's default device from cpu to meta",
    "torch.set_num_threads(3)": "torch's number of threads from 1 to 3",
    "torch.set_grad_enabled(False)": "whether torch takes gradients from True to False",
    "torch.set_float32_matmul_precision('medium')": "torch's precision of float32 products from highest to medium",
    "torch.use_deterministic_algorithms(True)": "whether torch is deterministic from False to True",
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)": "the handler of SIGTERM from ",
    "sys.setrecursionlimit(900)": "Python's recursion limit from ",
    "torch.manual_seed(0); np.random.seed(0); random.seed(0)": None, "os.chdir('/')": None, "os.environ.clear()": None,
    "warnings.simplefilter('error')": None, "print('noise')": None, "sys.stdout = None": None,
    "np.seterr(all='raise')": None, "torch.autograd.set_detect_anomaly(True)": None,
}
ENDS = ("os._exit(3)", "os._exit(0)", "os.kill(os.getpid(), 9)", "os.abort()")
"""What ends a process and says nothing."""

ITEM = '''
import itertools, sys, time
from pathlib import Path
import numpy as np
from cvfp_core import hookimpl
from cvfp_core.registry.kinds import *
from cvfp_core.running.execute import execute_cells
from cvfp_core.schema.cells import Variant

class Unsayable(Exception):
    def __str__(self):
        raise ValueError

def parse(name):
    return Variant.parse(name, family="odd", prefix="odd_")

def bad(*args, **named):
    BODY

@hookimpl
def HOOK():
    return [ITEM]
'''
_AXES = 'inputs=("train_tokens",), response="val_ppl", parameters=(Parameter(name="A"), Parameter(name="B"))'
_ENGINE = 'Executor(name="odd", title="", submit={}, status={}, cancel={})'
_VARIANT = 'VariantFamily(name="odd", title="", form="odd", parse={parse}, build=bad{more})'
ITEMS = {  # hook, item, command; TABLE is a table of runs, ODD a file that only the plugin knows
    "law": ("cvfp_fitters", f'Law(name="odd", form="", {_AXES}, function=bad)', "fit TABLE --law odd,power-law"),
    "law's fit": ("cvfp_fitters", 'Law(name="odd", form="", fit=bad)', "fit TABLE --law odd,power-law"),
    "law's model": ("cvfp_fitters", 'Law(name="odd", form="", model=bad)', "fit TABLE --law odd,power-law"),
    "law's starts": ("cvfp_fitters", f'Law(name="odd", form="", {_AXES}, starts=bad, '
                                     'function=lambda train_tokens, A, B: A * train_tokens ** B)',
                     "fit TABLE --law odd,power-law"),
    "analysis": ("cvfp_analyses", 'Analysis(name="odd", title="?", analyse=bad)', "report TABLE --template audit"),
    "lights": ("cvfp_analyses", 'Analysis(name="odd", title="?", analyse_lights=bad)', "report TABLE --template audit"),
    "matches": ("cvfp_ingesters", 'Ingester(name="odd", title="", matches=bad, read=bad)', "ingest ODD TABLE"),
    "read": ("cvfp_ingesters", 'Ingester(name="odd", title="", matches=lambda path, head: head and b"odd" in head, '
                               'read=bad)', "ingest ODD TABLE"),
    "near": ("cvfp_ingesters", 'Ingester(name="odd", title="", matches=lambda path, head: False, near=bad, read=bad)',
             "ingest ODD TABLE"),
    "parts": ("cvfp_ingesters", 'Ingester(name="odd", title="", matches=lambda path, head: head is None, parts=bad, '
                                'read=lambda path, options: iter(()))', "ingest ."),
    "suits": ("cvfp_templates", 'Template(name="odd", title="", path=Path(__file__).with_name("odd.md.j2"), suits=bad)',
              "report TABLE"),
    "about": ("cvfp_templates", 'Template(name="odd", title="", path=Path(__file__).with_name("odd.md.j2"), about=bad)',
              "report TABLE --template odd"),
    "objective": ("cvfp_objectives", 'Objective(name="odd", title="", form="", loss=bad)',
                  "run --set phase1.objective=odd"),
    "blocked": ("cvfp_objectives", 'Objective(name="odd", title="", form="", blocked=bad, '
                                   'loss=lambda contexts, previous, options: (contexts - previous).square().mean())',
                "run --set phase1.objective=odd"),
    "val_er_at": ("cvfp_endings", 'Ending(name="odd", title="", ends=lambda *_: False, val_er_at=bad)',
                  "run --set phase1.ending=odd"),
    "ending": ("cvfp_endings", 'Ending(name="odd", title="", ends=bad)', "run --set phase1.ending=odd"),
    "keeps": ("cvfp_endings", 'Ending(name="odd", title="", ends=lambda *_: False, keeps=bad)',
              "run --set phase1.ending=odd"),
    "stop rule": ("cvfp_stop_rules", 'StopRule(name="odd", title="", stops=bad)', "run --stop-rule odd"),
    "stop rule's ends": ("cvfp_stop_rules", 'StopRule(name="odd", title="", ends=bad)', "run --stop-rule odd"),
    "corpus": ("cvfp_corpora", 'CorpusSource(name="odd", title="", load=bad)', "run odd.toml"),
    "executor": ("cvfp_executors", 'Executor(name="odd", title="", run=bad)', "run --set executor=odd"),
    "ahead": ("cvfp_executors", 'Executor(name="odd", title="", ahead=bad, run=lambda cells, folder, jobs, emit: '
                                'execute_cells(cells, folder, emit))',
              "run --variant 1L_8d_1tok --variant 1L_8d_2tok --jobs 2 --set executor=odd"),
    "submit": ("cvfp_executors", _ENGINE.format("bad", "lambda handle: JobState(running=0)", "print"),
               "run --set executor=odd"),
    "status": ("cvfp_executors", _ENGINE.format("lambda *given: '7'", "bad", "lambda handle: None"),
               "run --set executor=odd"),
    "cancel": ("cvfp_executors", _ENGINE.format("lambda *given: '7'", "lambda handle: JobState(running=1)", "bad"),
               "run --set executor=odd"),
    "observer": ("cvfp_run_started", "bad()", "run"),
    "parse": ("cvfp_variants", _VARIANT.format(parse="bad", more=""), "run"),
    "check": ("cvfp_variants", _VARIANT.format(parse="parse", more=", check=bad"), "run --variant odd_1L_8d_1tok"),
    "settle": ("cvfp_variants", _VARIANT.format(parse="parse", more=", settle=bad"), "run --variant odd_1L_8d_1tok"),
    "size": ("cvfp_variants", _VARIANT.format(parse="parse", more=", size=bad"),
             "run --dry-run --no-time --variant odd_1L_8d_1tok"),
    "build": ("cvfp_variants", _VARIANT.format(parse="parse", more=""), "run --variant odd_1L_8d_1tok"),
}
BODIES = (
    "return None", "return float('nan')", "return 3", "return 'text'", "return True", "return {}", "return []",
    "return np.full(2, 1.0)", "return np.ones((5, 5))", "return [float('nan')] * 5", "return np.full(5, 1j)",
    "return np.array(['a'] * 5)", "return np.full(5, np.inf)", "return lambda: 1", "return itertools.repeat(3)",
    "print('noise'); return None", "yield 1; raise ValueError('mid')", "raise ValueError('no')", "raise Unsayable",
    "sys.exit()", "raise BrokenPipeError", "return bad(*args, **named)", "raise StopIteration", "raise MemoryError",
    "raise OSError(28, 'No space left')", "raise Exception('a\\nb\\x1b[2J')", "time.sleep(1000)",
)


def item(kind: str, body: str) -> str:
    """A plugin with an item `odd` of this kind whose function has this body."""
    hook, made, _ = ITEMS[kind]
    return ITEM.replace("[ITEM]", f"[{made}]").replace("HOOK", hook).replace("BODY", body)
