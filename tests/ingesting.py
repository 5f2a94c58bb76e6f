"""What the tests of ingesting share: a registry, the folders of data, lines as a test writes them."""

from __future__ import annotations

import functools
import os
from dataclasses import replace
from pathlib import Path

import pytest

from cvfp_core.ingesting.run import Ingested, ingest
from cvfp_core.registry import PluginInfo, Registry, installed
from cvfp_core.registry.kinds import Ingester

DATA = Path(__file__).parent / "data"
LOG = DATA / "newllm" / "0101_v9" / "output.txt"
_ROOT = Path(os.environ.get("CVFP_SHARED", Path(__file__).parent.parent.parent / "shared"))
SHARED = _ROOT / "data" / "newllm"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the logs of the published experiments are not here")


@functools.cache
def registry() -> Registry:
    return installed()


def with_ingesters(*extra: Ingester) -> Registry:
    """The installed registry with more ingesters, as another plugin would add them."""
    base = registry()
    owner = PluginInfo(name="other", distribution="other", version="1")
    items = {**base._items, Ingester: {**base.items(Ingester), **{each.name: each for each in extra}}}
    owners = {**base._owners, **{(Ingester, each.name): owner for each in extra}}
    return replace(base, _items=items, _owners=owners)


def read(*paths: Path, **asked: object) -> Ingested:
    return ingest(list(paths), registry(), **asked)  # type: ignore[arg-type]


def write(folder: Path, text: str | bytes, name: str = "log.txt") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def rows(made: Ingested) -> list[dict[str, object]]:
    return made.records.to_dicts()


def lines_of(made: Ingested) -> int:
    """Lines accounted for, rows that were refused counted once."""
    return sum(f.lines.record + f.lines.curve + f.lines.noise + f.reported - f.refused for f in made.files)
