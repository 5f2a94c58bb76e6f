"""Writes docs/settings.md from the keys of a run file.

    python docs/make_settings_md.py
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from cvfp_core.errors import shown
from cvfp_core.registry import Registry, load
from cvfp_core.registry.kinds import Preset
from cvfp_core.running import config
from cvfp_core.running.keys import Key, keys
from cvfp_core.schema.settings import flatten

FILE = Path(__file__).parent / "settings.md"
HEAD = """\
# Settings

Every key of a run file (TOML). `cvfp settings` shows them with their values, `cvfp settings NAME --settings PRESET` one
of them under a preset, `cvfp run --show-config` a whole run file to begin from. On the command line: `--set
SECTION.KEY=VALUE`.

This page is made from the program by `docs/make_settings_md.py`.
"""
ENVIRONMENT = """\
## Environment

| Variable | Default | Meaning |
|---|---|---|
| `CVFP_SYNC` | `1` | `0`: no `fsync`, for slow disks: [reliability](reliability.md#what-is-on-the-disk) |
| `CVFP_CACHE` | the system's folder for caches | folder of made corpora, and of contexts beyond memory |
| `CVFP_PLUGINS` | all that are installed | plugins that are loaded, separated by commas |
| `CVFP_DISABLE` | none | plugins that are left out, separated by commas |
| `CVFP_TRACEBACK` | `0` | `1`: prints the traceback of a plugin's error |
"""


def main() -> None:
    FILE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The page as it should be, of what comes with cvfp."""
    registry = load(only=(), disabled=()).require_healthy()
    every = keys(config.read(None, {}, (), registry), registry, every=True)
    lines = [HEAD]
    for heading, group in groupby(every, key=_heading):
        lines += [f"## {heading}", "", "| Key | Default | Unit | Values | Meaning |", "|---|---|---|---|---|",
                  *map(_row, group), ""]
    return "\n".join([*lines, *_presets(registry), ENVIRONMENT])


def _heading(key: Key) -> str:
    section = key.name.partition(".")[0] if "." in key.name else ""
    return f"[{section}]{f' of {key.of}' if key.of else ''}" if section else "Top level"


def _row(key: Key) -> str:
    default = "" if key.default in (None, []) else f"`{shown(key.default)}`"
    cells = (f"`{key.name}`", default, key.unit, key.values, key.meaning)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _presets(registry: Registry) -> list[str]:
    lines = ["## Presets", "", "| `settings` | What it is | Sets |", "|---|---|---|"]
    for preset in registry.items(Preset).values():
        overrides = ", ".join(f"`{name} = {shown(value)}`" for name, value in flatten(preset.overrides).items())
        lines.append(f"| `{preset.name}` | {preset.title} | {overrides} |")
    return [*lines, ""]


if __name__ == "__main__":
    main()
