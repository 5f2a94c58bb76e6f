"""What files and folders say of the runs in them by their names: which run it is, and `N1e7_D4e8`."""

from __future__ import annotations

import re
from pathlib import Path

from cvfp_core.ingesting.aliases import names_of
from cvfp_core.registry.kinds import IngestOptions
from cvfp_core.schema.quantities import QUANTITIES

_PART = re.compile(r"checkpoint-\d+|version_\d+|logs?|files|runs|events?|metrics|tensorboard|tb|train|val(?:idation)?|"
                   r"eval|csv_logs|lightning_logs|\.hydra|wandb", re.IGNORECASE)
"""Folders that are a part of a run's folder and do not name the run."""
_ROLE = re.compile(r"metrics|history|progress|summary|results?|stats|logs?|train|training|val|eval|evals|final|"
                   r"output|out|stdout|stderr|console|nohup|"
                   r"events\.out\.tfevents.*|all_results|eval_results|trainer_state|wandb-summary", re.IGNORECASE)
"""File names that say what is in a file and do not name the run."""
_SAID = re.compile(r"(?<![A-Za-z0-9.])([A-Za-z][A-Za-z_]*?)_?=?(\d+(?:\.\d+)?(?:e[+-]?\d+)?)([kKmMbBgGtT]?)"
                   r"(?![A-Za-z0-9.])")
_FACTORS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}


def role(path: Path) -> str | None:
    """What a file of a run's folder holds, by its name: `metrics`, `summary`; None if the name is the run's own."""
    return path.stem.lower() if _ROLE.fullmatch(path.stem) else None


def folder(path: Path) -> Path:
    """The folder of the run that a file or a part of the folder belongs to."""
    at = path.absolute()
    at = at.parent if at.is_file() else at
    while _PART.fullmatch(at.name) and at.parent != at:
        at = at.parent
    return at


def run(path: Path, options: IngestOptions) -> dict[str, str]:
    """`run_id` and `experiment` of the one run in a file or folder: its own name, and the folder it was found under."""
    home = folder(path)
    named = path.is_file() and role(path) is None
    version = next((part for part in path.absolute().parts[len(home.parts):] if re.fullmatch(r"version_\d+", part)), "")
    name = path.stem if named else f"{home.name}-{version}" if version else home.name
    above = home if named else home.parent
    root = options.root.absolute() if options.root is not None else None
    if root is not None and root != home and home.is_relative_to(root):
        above = root
    return {"run_id": name or "run", "experiment": options.experiment or above.name or "runs"}


def said(path: Path, options: IngestOptions) -> dict[str, float]:
    """Sizes and settings in the names of a file and of the folders from the one given on: `N1e7_D4e8`, `lr=3e-4`.

    A part counts if its letters are a quantity's name or alias; the name nearest to the run counts most.
    """
    root = options.root.absolute() if options.root is not None else path.absolute().parent
    made: dict[str, float] = {}
    for part in (path.absolute().relative_to(root).parts if path.absolute().is_relative_to(root) else (path.name,)):
        stem = part.removesuffix(path.suffix) if part == path.name and path.is_file() else part
        for key, digits, suffix in _SAID.findall(stem):
            name = sized(key)
            if name:
                value = float(digits) * _FACTORS[suffix.lower()]
                made[name] = int(value) if value.is_integer() and QUANTITIES[name].dtype == "int" else value
    return made


def sized(name: str) -> str | None:
    """The size or setting that is called so, in its own unit."""
    meaning = names_of({}).meaning(name)
    if meaning is None or meaning.factor != 1:
        return None
    quantity = meaning.quantity
    return quantity.name if quantity.kind in ("size", "setting") or quantity.name == "seed" else None
