"""One small input of each format that is read: files of tests/data as they are, and what is built from them."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import shutil
import sqlite3
import struct
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import polars as pl

from ingesting import DATA, write

FORMATS = DATA / "formats"
CONSOLE = {path.name: path for path in sorted((DATA / "console").iterdir())}
MLFLOW = (FORMATS / "mlflow.sql").read_text()
TRACKIO = (FORMATS / "trackio.sql").read_text()


def write_events(path: Path, scalars: list[tuple[str, int, float]]) -> None:
    """An event file as TensorBoard reads it: records framed by length and checksums."""


    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    events = [Event(wall_time=0.0, file_version="brain.Event:2")] + [
        Event(wall_time=1.0, step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))
        for tag, step, value in scalars
    ]
    with path.open("wb") as file:
        for event in events:
            data = event.SerializeToString()
            header = struct.pack("<Q", len(data))
            checks = [struct.pack("<I", masked_crc32c(part)) for part in (header, data)]
            file.write(header + checks[0] + data + checks[1])


def tensors(folder: Path, name: str = "model.safetensors", **shapes: list[int]) -> None:
    header = json.dumps({key: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}
                         for key, shape in shapes.items()} | {"__metadata__": {"format": "pt"}}).encode()
    write(folder, struct.pack("<Q", len(header)) + header, name)


def message(*fields: tuple[int, bytes]) -> bytes:
    """A message in protocol buffers, of fields that have a length below 128."""
    return b"".join(_key(number) + bytes([len(content)]) + content for number, content in fields)


def _key(number: int) -> bytes:
    key = number << 3 | 2
    return bytes([key]) if key < 128 else bytes([key & 127 | 128, key >> 7])


def items(**values: object) -> bytes:
    return b"".join(message((1, message((2, name.replace("__", "/").encode()), (16, json.dumps(value).encode()))))
                    for name, value in values.items())


def frames(*records: bytes, block: int = 32768) -> bytes:
    """Records as LevelDB frames them, cut where a block ends."""
    data = b":W&B\xe1\xbe\x00"
    for record in records:
        first = True
        while first or record:
            room = block - len(data) % block
            if room < 7:
                data += bytes(room)
                continue
            part, record = record[:room - 7], record[room - 7:]
            kind = (1 if first else 4) if not record else (2 if first else 3)
            data += bytes(4) + len(part).to_bytes(2, "little") + bytes([kind]) + part
            first = False
    return data


def database(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return path


def _copied(source: Path) -> Callable[[Path], object]:
    """Puts a file or folder of tests/data under the folder given."""

    def make(folder: Path) -> object:
        return shutil.copytree(source, folder / source.name) if source.is_dir() else shutil.copy(source, folder)

    return make


def _packed(name: str, pack: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(pack((FORMATS / "table.csv").read_bytes()))


def _zip(folder: Path) -> None:
    with zipfile.ZipFile(folder / "tables.zip", "w") as file:
        file.write(FORMATS / "table.csv", "a/table.csv")
        file.write(FORMATS / "lines.jsonl", "b/lines.jsonl")


def _events(folder: Path) -> None:
    (folder / "tiny").mkdir()
    write_events(folder / "tiny" / "events.out.tfevents.1.h.1.0", [
        ("Loss/val", 100, 3.5), ("Loss/train", 100, 3.25), ("tokens", 100, 1e6), ("params", 100, 4096.0)])


def _wandb_log(folder: Path) -> None:
    about = message((1, b"ab12cd34"), (4, items(n_params=1000, lr=0.1)), (8, b"tiny"), (13, b"box"))
    steps = [message((2, items(_step=step, val__loss=5 - step / 8, tokens=step * 10))) for step in (1, 2, 3)]
    write(folder / "offline-run-20260102_030405-ab12cd34", frames(message((17, about)), *steps), "run-ab12cd34.wandb")


def _hugging_face(folder: Path) -> None:
    shutil.copytree(DATA / "trainers" / "tiny-gpt", folder / "tiny-gpt")
    tensors(folder / "tiny-gpt" / "checkpoint-20", wte=[100, 8], head=[8])


def _scores(folder: Path) -> None:
    shutil.copy(DATA / "trackers" / "results_2026-01-05T10-00-00.json", folder)
    write(folder, "run_id,params,train_tokens,val_loss\ntiny,1e6,2e7,4.6\n", "runs.csv")


MADE: dict[str, Callable[[Path], object]] = {
    **{name: _copied(FORMATS / name) for name in (
        "table.csv", "table.tsv", "wide.csv", "history.csv", "list.json", "nested.json", "lines.jsonl", "lightning",
        "run-folder", "mlflow")},
    "table.csv.gz": _packed("table.csv.gz", gzip.compress), "table.csv.bz2": _packed("table.csv.bz2", bz2.compress),
    "table.csv.xz": _packed("table.csv.xz", lzma.compress), "tables.zip": _zip,
    "table.parquet": lambda folder: pl.read_csv(FORMATS / "history.csv").write_parquet(folder / "table.parquet"),
    "hugging-face": _hugging_face,
    "wandb-runs": _copied(DATA / "tables" / "wandb_runs.csv"),
    "wandb-chart": _copied(DATA / "tables" / "wandb_history.csv"),
    "wandb-folder": _copied(DATA / "trackers" / "run-20260102_030405-ab12cd34"),
    "wandb-log": _wandb_log, "tensorboard": _events,
    "mlflow.db": lambda folder: database(folder / "mlflow.db", MLFLOW),
    "trackio.db": lambda folder: database(folder / "trackio.db", TRACKIO),
    "newllm-log": _copied(DATA / "newllm" / "0101_v9" / "output.txt"),
    "newllm-folder": _copied(DATA / "newllm" / "0101_v9"),
    "newllm-json": _copied(DATA / "newllm" / "0101_v9" / "detailed_results.json"),
    "lm-eval": _scores,
    **{name: _copied(path) for name, path in CONSOLE.items()},
}
"""By name: what puts the input into a folder."""
