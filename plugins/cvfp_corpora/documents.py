"""Documents from what lies on this machine: the embedded text, plain text files, JSON lines."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from cvfp_core.errors import UsageError
from cvfp_corpora.recipe import Options, text_option, whole_option

_BLANK_LINES = re.compile(r"\n\s*\n")


def embedded(options: Options, cache: Path) -> list[str]:  # noqa: ARG001
    """Paragraph groups of Python's language reference, in the order of its topics' names."""
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise UsageError(
            "corpus 'embedded' needs the module pydoc_data, which this Python was installed without; "
            "install the full standard library, or choose the corpus 'text'"
        ) from error
    at_least = whole_option(options, "document_characters", minimum=1)
    texts = dict.fromkeys(topics[name].strip("\n") for name in sorted(topics))
    paragraphs: Iterable[str] = (part for text in texts for part in paragraphs_of(text))
    if text_option(options, "repeats") == "dropped":
        paragraphs = dict.fromkeys(paragraphs)
    return list(dict.fromkeys(grouped(paragraphs, at_least)))


def text(options: Options, cache: Path) -> list[str]:  # noqa: ARG001
    """One document a file, or its parts between blank lines. Raises UsageError naming a file that is not text."""
    path = _path(options)
    unit = text_option(options, "document")
    at_least = whole_option(options, "document_characters", minimum=1)
    if unit == "auto":
        unit = "file" if path.is_dir() else "blank-lines"
    documents = []
    for file in _files(path, text_option(options, "glob")):
        content = read_text(file).strip("\n")
        if not content.strip():
            raise UsageError(f"{file}: the file is empty; expected text")
        documents += [content] if unit == "file" else grouped(paragraphs_of(content), at_least)
    return documents


def jsonl(options: Options, cache: Path) -> list[str]:  # noqa: ARG001
    """The text of every line; lines whose text is blank are left out. Raises UsageError naming file and line."""
    field = text_option(options, "field")
    documents = []
    for file in _files(_path(options), text_option(options, "glob")):
        for number, line in enumerate(read_text(file).split("\n"), start=1):
            if line.strip():
                documents.append(_json_document(line, field, f"{file}:{number}"))
    return [document for document in documents if document.strip()]


def _json_document(line: str, field: str, place: str) -> str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "nested too deeply"
        raise UsageError(f"{place}: expected a JSON object, found {_short(line)} ({reason})") from error
    if not isinstance(row, dict):
        raise UsageError(f"{place}: expected a JSON object with the field '{field}', found {_short(line)}")
    if field not in row:
        raise UsageError(
            f"{place}: expected the field '{field}', found {_short(', '.join(row)) or 'no fields'}; "
            "name another with the corpus option 'field'"
        )
    return document_of(row[field], f"{place}: field '{field}'")


def document_of(value: object, place: str) -> str:
    """The text that a field holds; a list of messages is joined by newlines. Raises UsageError naming the place."""
    if isinstance(value, str):
        contents = [value]
    elif isinstance(value, list):
        contents = [_message(message, f"{place}: message {i}") for i, message in enumerate(value, start=1)]
    else:
        raise UsageError(f"{place}: expected a text or a list of messages, found {_short(value)}")
    document = "\n".join(contents)
    try:
        document.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{place}: expected Unicode text, found half a surrogate pair ({error.reason})") from error
    return document


def _message(message: object, place: str) -> str:
    content = message.get("content") if isinstance(message, dict) else message
    if not isinstance(content, str):
        raise UsageError(f"{place}: expected a text or an object with a text 'content', found {_short(message)}")
    return content


def _short(value: object) -> str:
    shown = value if isinstance(value, str) else repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def paragraphs_of(text: str) -> Iterator[str]:
    """The parts between blank lines, without those that are blank themselves."""
    return (part for piece in _BLANK_LINES.split(text) if (part := piece.strip("\n")).strip())


def grouped(paragraphs: Iterable[str], at_least: int) -> list[str]:
    """Documents of consecutive paragraphs, each of at least that many characters; a shorter rest joins the last."""
    documents: list[str] = []
    group: list[str] = []
    length = 0
    for paragraph in paragraphs:
        group.append(paragraph)
        length += len(paragraph) + (2 if len(group) > 1 else 0)
        if length >= at_least:
            documents.append("\n\n".join(group))
            group, length = [], 0
    if group and documents:
        documents[-1] += "\n\n" + "\n\n".join(group)
    elif group:
        documents.append("\n\n".join(group))
    return documents


def read_text(file: Path) -> str:
    """The file's text with line ends as newlines, without a byte order mark. Raises UsageError if it is not UTF-8."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    if not content:
        raise UsageError(f"{file}: the file is empty; expected text")
    zero = content.find(b"\0")
    if zero >= 0:
        raise UsageError(f"{file}: expected UTF-8 text, found a binary file (a zero byte at offset {zero})")
    try:
        decoded = content.decode("utf-8")
    except UnicodeDecodeError as error:
        found = f"byte 0x{content[error.start]:02x} at offset {error.start}"
        raise UsageError(f"{file}: expected UTF-8 text, found {found}; convert the file to UTF-8") from error
    return decoded.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _path(options: Options) -> Path:
    asked = text_option(options, "path")
    path = local_path(asked)
    if path.is_dir() or path.is_file():
        return path
    if os.path.lexists(path):
        raise UsageError(f"{asked}: expected a file or a folder, found something else")
    raise UsageError(f"{asked}: no such file or folder (corpus option 'path'; relative paths start at {Path.cwd()})")


def local_path(asked: str) -> Path:
    """The path, with a home folder written as `~` filled in. Raises UsageError if it cannot even be looked at."""
    try:
        path = Path(asked).expanduser()
        path.is_file()  # raises for a name that is too long, a folder that is closed
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{asked}: no such file or folder ({reason})") from error
    return path


def _files(path: Path, pattern: str) -> list[Path]:
    """The file itself, or the folder's files that match, by path. Raises UsageError if there are none."""
    if not path.is_dir():
        return [path]
    matches = re.compile(_as_regex(pattern)).fullmatch
    files = [file for file in _walk(path) if matches(file.relative_to(path).as_posix())]
    if not files:
        others = _others([*_walk(path)])
        remedy = f"it has {others}" if others else "it has no files at all"
        raise UsageError(f"{path}: the folder has no files that match '{pattern}' (corpus option 'glob'); {remedy}")
    return sorted(files, key=lambda file: file.relative_to(path).parts)


def left_out(options: Options) -> str:
    """Which files of the folder are not read, and how they would be; empty: none, or the documents are no folder's."""
    path, pattern = local_path(str(options.get("path") or "")), options.get("glob")
    if not pattern or not path.is_dir():
        return ""
    files, read = [*_walk(path)], set(_files(path, str(pattern)))
    others = [file for file in files if file not in read]
    return (f"{path}: {len(read)} of {len(files)} files are read, those that match '{pattern}'; there are also "
            f"{_others(others)}") if others else ""


def _others(files: list[Path]) -> str:
    """How many files of which endings, and the option that reads those of the most frequent; empty: no files."""
    endings = Counter(file.suffix for file in files).most_common(3)
    there = ", ".join(f"{count} {ending or 'without an ending'}" for ending, count in endings)
    return f"{there}: --set corpus.glob='**/*{endings[0][0]}'" if endings else ""


def _walk(top: Path) -> Iterator[Path]:
    """Regular files below a folder, hidden ones left out. Links are followed; no folder is entered twice."""
    entered = set()

    def refuse(error: OSError) -> None:
        raise UsageError(f"{error.filename}: cannot be read: {error.strerror}") from error

    for folder, below, names in os.walk(top, followlinks=True, onerror=refuse):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            below.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in names:
            file = Path(folder, name)
            if not name.startswith(".") and file.is_file():
                yield file


def _as_regex(pattern: str) -> str:
    """A glob as a regular expression: `**/` is any folders or none, `*` and `?` stay within a name."""
    pieces = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(pieces.get(piece, re.escape(piece)) for piece in re.split(r"(\*\*/|\*\*|\*|\?)", pattern))
