"""`trainer_state.json`, which Hugging Face Trainer saves with every checkpoint: a folder of checkpoints is one run."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from cvfp_core.errors import IngestError
from cvfp_core.ingesting import configs, naming, tags
from cvfp_core.ingesting.histories import History
from cvfp_core.ingesting.lines import bad_json, first_bytes, shown
from cvfp_core.registry.kinds import IngestOptions
from cvfp_core.schema.found import Found, FoundRun, NotUnderstood, Remark, Tally
from cvfp_trainers import weights

_STATE = "trainer_state.json"
_RESULTS = ("all_results.json", "eval_results.json", "train_results.json")
_NO_METRIC = {"step", "epoch", "total_flos"}
_BIGGEST = 512 << 20
_LENGTHS = ("max_seq_length", "max_length", "block_size", "seq_length", "n_positions", "n_ctx",
            "max_position_embeddings")
"""Names of a sequence's length, the surest first."""
_SUMMED = 3
"""Times the validation loss from which on a training loss is taken for one summed over accumulated batches."""


def matches(path: Path, head: bytes | None) -> bool:
    """Whether a file is a trainer's state, or a folder holds one or checkpoints with one."""
    if head is not None:
        return b'"log_history"' in head and b'"global_step"' in head
    return any(matches(state, first_bytes(state, 1 << 16)) for state in _states(path))


def parts(path: Path) -> Collection[Path]:
    """What of a folder is read or belongs to the model saved in it."""
    checkpoints = [state.parent for state in _states(path) if state.parent != path]
    known = [path / name for name in (_STATE, *_RESULTS, *configs.NAMES, "generation_config.json", "tokenizer.json",
                                      "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "runs")]
    return [*known, *checkpoints, *path.glob("model*.safetensors*"), *path.glob("*.bin"), *path.glob("*.pt*")]


def read(path: Path, options: IngestOptions) -> Iterator[Found]:
    """The run of a state, or of the last state of a folder; every logged value as a curve over steps."""
    states = [path] if path.is_file() else _states(path)
    loaded = [_load(state, path) for state in states]
    number = max(range(len(loaded)), key=lambda i: (_count(loaded[i], "global_step"), states[i].parent == path))
    state, file = loaded[number], states[number]
    home = naming.folder(file)
    history, last = History(), 0
    entries, bad = _entries(state, home)
    for line, entry in bad:
        yield NotUnderstood(line=line, expected="an entry of log_history with a step", found=shown(str(entry)),
                            file="" if path.is_file() else file.relative_to(path).as_posix())
    for entry in entries:
        last = max(last, entry["step"])
        summary = "train_loss" in entry and "train_runtime" in entry
        history.add(entry["step"], {name: value for name, value in entry.items() if name not in _NO_METRIC
                                    and not (summary and name == "train_loss")})
    yield Tally(record=len(states), curve=len(entries))
    taken = history.take(options.take) if history else None
    if taken is None:
        yield NotUnderstood(line=1, expected=f"values for --take {options.take}",
                            found=f"steps up to {last} of {', '.join(history.names[:8]) or 'nothing'}")
        return
    done = int(_count(state, "global_step")) or last
    at = done if options.take.how == "last" else taken.step
    figures, names = tags.columns(taken.values)
    params = weights.params(home, file.parent)
    facts = {"trainer_steps": at, "taken_at": taken.said} | ({"params": params} if isinstance(params, int) else {})
    epochs = _epochs(state, at / done if done else 1.0)
    counted = _tokens(state, home, file.parent, at, done)
    facts |= _flops(state, at, done)
    yield from (Remark(text=text) for text in _remarks({**figures, **facts, **counted}, history.names, params, options))
    counted.pop("how", None)
    yield FoundRun(line=1, taken=names, curves=history.curves(), columns=tags.with_train_tokens(
        {**taken.values, **figures, **epochs, **facts, **counted,
         **naming.run(path if path.is_dir() else file, options)}))


def _states(path: Path) -> list[Path]:
    """The states in a folder: its own, and those of its checkpoints."""
    found = [path / _STATE, *sorted(path.glob(f"checkpoint-*/{_STATE}"))]
    return [state for state in found if state.is_file()]


def _load(path: Path, given: Path) -> dict[str, Any]:
    file = "" if path == given else path.relative_to(given).as_posix()
    if path.stat().st_size > _BIGGEST:
        raise IngestError(1, f"a trainer state of at most {_BIGGEST >> 20} MiB", "a bigger file", file)
    try:
        state = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except json.JSONDecodeError as error:
        raise bad_json(error, file) from None
    except (ValueError, RecursionError) as error:
        raise IngestError(1, "JSON", str(error), file) from None
    history = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(history, list):
        raise IngestError(1, "a list 'log_history'", type(history).__name__, file)
    return dict(state)


def _entries(state: Mapping[str, Any], home: Path) -> tuple[list[dict[str, Any]], list[tuple[int, Any]]]:
    """What was logged, with a last evaluation that stands beside the state alone; and entries that are none."""
    good, bad = [], []
    for number, entry in enumerate(state["log_history"], 1):
        step = entry.get("step") if isinstance(entry, dict) else None
        if isinstance(step, int) and not isinstance(step, bool) and 0 <= step < 2**53:
            good.append(entry)
        else:
            bad.append((number, entry))
    final = _count(state, "global_step")
    if not any(name.startswith("eval_") for entry in good if entry["step"] == final for name in entry):
        for file in (home / name for name in _RESULTS[:2] if (home / name).is_file()):
            said = {name: value for name, value in configs.read(file).items()
                    if name.startswith("eval_") or name == "perplexity"}
            if said:
                good.append({"step": int(final), **said})
                break
    return good, bad


def _tokens(state: Mapping[str, Any], home: Path, folder: Path, at: int, done: int) -> dict[str, Any]:
    """Tokens seen, counted by the trainer or following from its steps, and how they were counted."""
    seen = _count(state, "num_input_tokens_seen")
    if seen > 0:
        return {"tokens_seen": seen if at == done else seen * at / done,
                **({} if at == done else {"derived": f"tokens_seen = num_input_tokens_seen * {at} / {done}"})}
    arguments = next((made for place in (home, folder) if (made := weights.arguments(place / "training_args.bin"))), {})
    config: dict[str, Any] = {}
    for file in (*configs.beside(folder), *configs.beside(home)):
        config = configs.read(file) | config
    length = next(((name, made[name]) for made in (arguments, config) for name in _LENGTHS
                   if isinstance(made.get(name), int) and 0 < made[name] < 2**31), None)
    batch, steps = _count(state, "train_batch_size"), arguments.get("gradient_accumulation_steps")
    if length is None or batch <= 0 or not isinstance(steps, int):
        return {}
    rule = f"tokens_seen = global_step * train_batch_size * gradient_accumulation_steps * {length[0]}"
    return {"tokens_seen": at * batch * steps * length[1], "derived": rule,
            "how": f"{rule} = {at} * {batch:g} * {steps} * {length[1]}, of one process and full sequences; if it was "
                   f"otherwise: --map train_tokens=..."}


def _epochs(state: Mapping[str, Any], share: float) -> dict[str, float]:
    epoch = state.get("epoch")
    return {"epochs": epoch * share} if isinstance(epoch, int | float) and 0 < epoch < 1e9 else {}


def _flops(state: Mapping[str, Any], at: int, done: int) -> dict[str, float]:
    """The trainer's own count, which goes up with the steps."""
    flops = _count(state, "total_flos")
    return {"flops": flops if at == done else flops * at / done} if flops > 0 else {}


def _remarks(figures: Mapping[str, Any], names: tuple[str, ...], params: int | str | None,
             options: IngestOptions) -> Iterator[str]:
    if "how" in figures:
        yield str(figures["how"])
    elif "tokens_seen" not in figures and not {"tokens_seen", "train_tokens"} & options.mapping.keys():
        yield ("tokens are not known: the trainer counts them with include_num_input_tokens_seen=True; give them with "
               "--map train_tokens='trainer_steps * TOKENS_PER_STEP'")
    if not isinstance(params, int) and "params" not in options.mapping:
        why = "no model.safetensors is there" if params is None else f"the header of {params} is damaged"
        give = ("the trainer's FLOPs have them, without embeddings: --map params='flops / (6 * tokens_seen)'"
                if {"flops", "tokens_seen"} <= figures.keys() else
                "give a column, an expression, or a number that all runs share: --map params=124000000")
        yield f"params are not known: {why}; {give}"
    if tags.rewarded(names):
        yield "its loss is one of preferences or rewards, no cross-entropy: no perplexity follows from it"
    sets = tags.sets(names)
    if len(sets) > 1:
        yield f"evaluated on several sets: {', '.join(sets)}; choose one with --map val_loss={sets[0]}"
    train, val = figures.get("train_loss"), figures.get("val_loss")
    if isinstance(train, int | float) and isinstance(val, int | float) and 0 < val * _SUMMED < train:
        yield (f"its train loss is {train / val:.1f} times its validation loss: probably summed over accumulated "
               "batches; if so: --map train_loss='loss / gradient_accumulation_steps'")


def _count(state: Mapping[str, Any], name: str) -> int | float:
    value = state.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e300 else 0
