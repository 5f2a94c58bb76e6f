"""Plugins made on the spot: a module and the metadata of a distribution, in a folder that stands on the path."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

import made_grids

FAMILY = """
from cvfp_core import hookimpl
from cvfp_core.schema.cells import Variant
from cvfp_core.registry.kinds import VariantFamily

def parse(name):
    return Variant.parse(name, family="{name}", prefix="{name}_")

def build(variant, options, embeddings, generator):
    {body}

@hookimpl
def cvfp_variants():
    return [VariantFamily(name="{name}", title="made", form="{name}_{{L}}L_{{d}}d_{{T}}tok", parse=parse, build=build)]
"""


def install(
    folder: Path, plugin: str, code: str, *, entry: str | None = None, version: str = "1.2.3",
) -> str:
    """Puts module `made_{plugin}` and distribution `made-{plugin}` into the folder; returns the module's name."""
    module = f"made_{plugin}"
    sys.modules.pop(module, None)  # of another test: what is written now is what is imported
    importlib.invalidate_caches()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(code, encoding="utf-8")
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir()
    facts = ["Metadata-Version: 2.1", f"Name: made-{plugin}", f"Version: {version}"]
    (info / "METADATA").write_text("\n".join(facts) + "\n")
    (info / "entry_points.txt").write_text(f"[cvfp]\n{entry or plugin} = {module}\n")
    return module


def points(folder: Path) -> list:
    """The entry points of all that was put into the folder."""
    return [point for info in sorted(folder.glob("*.dist-info")) for point in PathDistribution(info).entry_points]


@contextmanager
def stranger(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> Iterator[Path]:
    """The folder with a corpus, where the stranger's distribution is installed; its module is forgotten afterwards."""
    made_grids.corpus(folder)
    install(folder / "site", "stranger", code)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder / "site"))
    yield folder
    sys.modules.pop("made_stranger", None)
