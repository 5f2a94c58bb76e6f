"""First-party plugin: tables of runs, one row a run: CSV, TSV, JSON, JSON lines, Parquet."""

from __future__ import annotations

from cvfp_core import hookimpl
from cvfp_core.registry.kinds import Ingester
from cvfp_core.registry.lazy import lazy


@hookimpl
def cvfp_ingesters() -> tuple[Ingester, ...]:
    return (
        Ingester(name="csv", title="CSV or TSV, one row a run", general=True,
                 matches=lazy("cvfp_tables.delimited:matches"), read=lazy("cvfp_tables.delimited:read")),
        Ingester(name="json", title="JSON, a list of runs", general=True,
                 matches=lazy("cvfp_tables.objects:matches"), read=lazy("cvfp_tables.objects:read")),
        Ingester(name="jsonl", title="JSON lines, one a run", general=True,
                 matches=lazy("cvfp_tables.objects:matches_lines"), read=lazy("cvfp_tables.objects:read_lines_of")),
        Ingester(name="parquet", title="Parquet, one row a run", general=True,
                 matches=lambda _path, head: head is not None and head[:4] == b"PAR1",
                 read=lazy("cvfp_tables.parquet:read")),
    )
