"""Configuration files of a run: which there are beside a file, and what they say, flat."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from cvfp_core.errors import CvfpError
from cvfp_core.ingesting import naming
from cvfp_core.ingesting.delimited import value
from cvfp_core.ingesting.lines import shown
from cvfp_core.schema.quantities import QUANTITIES

NAMES = ("config.json", "config.yaml", "config.yml", "config.toml", "hparams.yaml", "hparams.json", "args.json",
         "params.json", "hyperparameters.json", "training_args.json", ".hydra/config.yaml", "files/config.yaml")
RESULTS = ("summary.json", "results.json", "result.json", "final.json", "final_metrics.json", "eval.json",
           "eval_results.json", "all_results.json")
"""Last values of a run, beside the file of its steps."""
_LARGEST = 1 << 20
_GREATEST = 10**308
_MOST = 1000
"""Names, and tables of names, taken of a file."""
_SPELT = {"num_hidden_layers": "num_layers", "depth": "num_layers", "n_embd": "context_dim",
          "hidden_size": "context_dim", "d_model": "context_dim", "dim": "context_dim", "peak_lr": "learning_rate",
          "max_lr": "learning_rate"}
"""Names that configurations use for sizes and settings, beside the aliases of the quantities."""
_NOBODYS = {"user", "username", "host", "hostname", "email"}
"""Names of people and machines, which are not kept."""


def beside(path: Path, root: Path | None = None) -> tuple[Path, ...]:
    """The configuration files of the run that a file or folder is of, the nearest first; none from above the root."""
    home, at = naming.folder(path), path.absolute()
    at = at.parent if at.is_file() else at
    found = []
    while True:
        found += [each for each in _files(at, NAMES) if each != path.absolute()]
        if at in (home, root and root.absolute()):
            return tuple(found)
        at = at.parent


def rank(name: str) -> int:
    """In which order files of a folder are read: what others are joined to comes first."""
    return 2 if name in NAMES else 1 if name in RESULTS else 0


def results(path: Path) -> tuple[Path, ...]:
    """Files of last values beside a file of steps, which is none of them itself."""
    return tuple(_files(path.absolute().parent, RESULTS) if path.is_file() and not rank(path.name) else ())


def _files(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """The files of the folder that have one of the names, in order of the names."""
    return (folder / name for name in names if os.path.isfile(f"{folder}/{name}"))  # it may hold 10,000 others


def read(path: Path) -> dict[str, Any]:
    """What a configuration says: names joined by dots, and numbers, words and truth values.

    Lists are left out. Raises CvfpError if it cannot be read.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise CvfpError(f"{path.name}: expected a configuration of at most 1 MiB, found a larger file")
        text = path.read_text(encoding="utf-8", errors="replace").removeprefix("\ufeff")
        made = _PARSERS[path.suffix](text)
    except (ValueError, RecursionError, OSError) as error:
        raise CvfpError(f"{path.name}: expected a configuration, found {shown(str(error), 100)}") from None
    if not isinstance(made, Mapping):
        raise CvfpError(f"{path.name}: expected names and values, found {shown(str(made))}")
    return flat(made)


def flat(made: Mapping[Any, Any]) -> dict[str, Any]:
    """Names joined by dots, with the numbers, words and truth values that are there; people and machines left out.

    An integer that no float can hold is left out too.
    """
    said = {name: value(item, QUANTITIES.get(name)) if isinstance(item, str) and len(item) <= 200 else item
            for name, item in islice(_flat(made), _MOST) if name.rpartition(".")[2].lower() not in _NOBODYS}
    return {name: item for name, item in said.items()
            if item is not None and not (isinstance(item, int) and abs(item) > _GREATEST)}


def quantities(said: Mapping[str, Any]) -> dict[str, str]:
    """Sizes and settings that a configuration states: quantity -> the name it states it under."""
    made: dict[str, str] = {}
    for name, item in said.items():
        last = name.rpartition(".")[2]
        quantity = _SPELT.get(last.lower()) or naming.sized(last)
        if quantity and quantity not in made and isinstance(item, int | float) and not isinstance(item, bool) \
                and QUANTITIES[quantity].allows(item):
            made[quantity] = name
    return made


def _flat(made: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    pending = [("", made)]
    for _ in range(_MOST):
        if not pending:
            return
        prefix, mapping = pending.pop(0)
        for name, item in mapping.items():
            if isinstance(item, Mapping) and set(item) <= {"value", "desc"} and "value" in item:
                item = item["value"]  # as trackers save a setting
            if str(name) == "_wandb":
                continue
            if isinstance(item, Mapping):
                pending.append((f"{prefix}{name}.", item))
            elif isinstance(item, bool | int | float | str):
                yield f"{prefix}{name}", item


def _yaml(text: str) -> Any:
    """The document, with Python objects that a trainer wrote into it as what they hold."""
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError:
        raise CvfpError("reading YAML takes PyYAML: pip install pyyaml") from None

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        pass

    def plain(loader: Any, _suffix: str, node: Any) -> Any:
        if isinstance(node, yaml.MappingNode):
            return loader.construct_mapping(node, deep=True)
        if isinstance(node, yaml.SequenceNode):
            return loader.construct_sequence(node, deep=True)
        return loader.construct_scalar(node)

    Loader.add_multi_constructor("", plain)
    try:
        return yaml.load(text, Loader=Loader)
    except (yaml.YAMLError, TypeError) as error:
        raise ValueError(" ".join(str(error).split())) from None


_PARSERS: dict[str, Callable[[str], Any]] = {".json": json.loads, ".toml": tomllib.loads, ".yaml": _yaml, ".yml": _yaml}
