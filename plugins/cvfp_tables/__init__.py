"""First-party plugin: tables of runs, one row a run: CSV, TSV, JSON, JSON lines, Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Ingester, IngestOptions
from cvfp_core.schema.found import Found


@hookimpl
def cvfp_ingesters() -> tuple[Ingester, ...]:
    return (
        Ingester(name="csv", title="CSV or TSV, one row a run", matches=_csv_matches, read=_read_csv, general=True),
        Ingester(name="json", title="JSON, a list of runs", matches=_json_matches, read=_read_json, general=True),
        Ingester(name="jsonl", title="JSON lines, one a run", matches=_jsonl_matches, read=_read_jsonl, general=True),
        Ingester(name="parquet", title="Parquet, one row a run", matches=_is_parquet, read=_read_parquet, general=True),
    )


def _csv_matches(path: Path, head: bytes | None) -> bool:
    from cvfp_tables import delimited

    return head is not None and delimited.matches(path, head)


def _read_csv(path: Path, options: IngestOptions) -> Iterator[Found]:
    from cvfp_tables import delimited

    return delimited.read(path, options)


def _json_matches(path: Path, head: bytes | None) -> bool:
    from cvfp_tables import objects

    return head is not None and objects.matches(path, head)


def _read_json(path: Path, options: IngestOptions) -> Iterator[Found]:
    from cvfp_tables import objects

    return objects.read(path, options)


def _jsonl_matches(path: Path, head: bytes | None) -> bool:
    from cvfp_tables import objects

    return head is not None and objects.matches_lines(path, head)


def _read_jsonl(path: Path, options: IngestOptions) -> Iterator[Found]:
    from cvfp_tables import objects

    return objects.read_lines_of(path, options)


def _is_parquet(path: Path, head: bytes | None) -> bool:
    del path
    return head is not None and head[:4] == b"PAR1"


def _read_parquet(path: Path, options: IngestOptions) -> Iterator[Found]:
    from cvfp_tables import parquet

    return parquet.read(path, options)
