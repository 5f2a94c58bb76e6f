"""First-party plugin: corpora. What makes text, tokens and embeddings is imported when one is loaded.

`embedded` needs nothing but CPython; `text` and `jsonl` read files; `hf` and `ultrachat` read Hugging Face datasets.
"""

from __future__ import annotations

from collections.abc import Iterable

from cvfp_core import hookimpl
from cvfp_core.registry.kinds import CorpusSource, Option
from cvfp_core.registry.lazy import lazy
from cvfp_corpora.recipe import EMBED_DIM, VOCAB_SIZE


def shared_options(
    *,
    tokenizer: str = "bpe",
    embeddings: str = "ppmi",
    order: str = "shuffled",
    validation: float = 0.1,
    max_documents: int | None = None,
) -> tuple[Option, ...]:
    """The options every corpus takes: split, tokenizer, embeddings. The arguments are the defaults that differ."""
    return (
        Option(
            name="max_documents", default=max_documents, minimum=1,
            help="take no more training documents than this; all if left out",
        ),
        Option(
            name="order", default=order, choices=("shuffled", "kept"),
            help="shuffled: by hash, validation first; kept: as read, the last documents are the validation",
        ),
        Option(name="split_seed", default=0, help="seed of the shuffle, and of random embeddings"),
        Option(
            name="validation", default=validation, minimum=0,
            help="documents held out: a share if below 1, else a count",
        ),
        Option(
            name="tokenizer", default=tokenizer,
            help="bpe (byte-level, trained on the training part), or a tokenizer.json, its folder, or a hub id",
        ),
        Option(
            name="vocab_size", default=VOCAB_SIZE, minimum=257,
            help="size of a vocabulary trained here (tokenizer = bpe)",
        ),
        Option(
            name="embeddings", default=embeddings,
            help="ppmi (SVD of co-occurrences), random, or a .safetensors file, its folder, or a hub id",
        ),
        Option(name="embed_dim", default=EMBED_DIM, minimum=2, help="width of embeddings made here (ppmi, random)"),
    )


def _file_options(pattern: str) -> tuple[Option, ...]:
    return (
        Option(name="path", default=None, help="the file or folder to read (required)"),
        Option(name="glob", default=pattern, help="which files of a folder are read"),
    )


def _dataset_options(*, dataset: str | None = None, split: str = "train", field: str = "text") -> tuple[Option, ...]:
    return (
        Option(
            name="dataset", default=dataset,
            help="a name on the hub, a folder made by save_to_disk, or a .jsonl, .json, .csv or .parquet file"
            + ("" if dataset else " (required)"),
        ),
        Option(name="config", default=None, help="the dataset's configuration, where it has several"),
        Option(name="split", default=split, help="the dataset's split that training and validation are taken from"),
        Option(name="field", default=field, help="the column with the text or the list of messages"),
    )


@hookimpl
def cvfp_corpora() -> Iterable[CorpusSource]:
    """The embedded default, plain text, JSON lines, and Hugging Face datasets."""
    return (
        CorpusSource(
            name="embedded",
            title="the language reference inside this Python (460 KB of English); needs no file and no network",
            load=lazy("cvfp_corpora.build:load_embedded"),
            options=(
                Option(
                    name="document_characters", default=1500, minimum=1,
                    help="paragraphs are grouped into documents of at least this many characters",
                ),
                Option(
                    name="repeats", default="dropped", choices=("kept", "dropped"),
                    help="dropped: a paragraph that occurs again is left out; kept: it stays; these are a fifth of "
                         "the text, and some then stand in both parts",
                ),
                *shared_options(),
            ),
        ),
        CorpusSource(
            name="text",
            title="plain text files (UTF-8)",
            load=lazy("cvfp_corpora.build:load_text"),
            options=(
                *_file_options("**/*.txt"),
                Option(
                    name="document", default="auto", choices=("auto", "file", "blank-lines"),
                    help="what a document is; auto: a file of a folder, or a single file's parts between blank lines",
                ),
                Option(
                    name="document_characters", default=1, minimum=1,
                    help="parts between blank lines are grouped into documents of at least this many characters",
                ),
                *shared_options(),
            ),
        ),
        CorpusSource(
            name="jsonl",
            title="JSON lines with a text or a list of messages",
            load=lazy("cvfp_corpora.build:load_jsonl"),
            options=(
                *_file_options("**/*.jsonl"),
                Option(name="field", default="text", help="the field with the text or the list of messages"),
                *shared_options(),
            ),
        ),
        CorpusSource(
            name="hf",
            title="a Hugging Face dataset, by name or from a local file or folder (extra: hf)",
            load=lazy("cvfp_corpora.build:load_hf"),
            options=(*_dataset_options(), *shared_options()),
        ),
        CorpusSource(
            name="ultrachat",
            title="UltraChat-200k with GPT-2's tokens and embeddings, as in the published experiments (extra: hf)",
            load=lazy("cvfp_corpora.build:load_ultrachat"),
            options=(
                *_dataset_options(dataset="HuggingFaceH4/ultrachat_200k", split="train_sft", field="messages"),
                *shared_options(
                    tokenizer="openai-community/gpt2", embeddings="openai-community/gpt2",
                    order="kept", validation=20.0, max_documents=2000,
                ),
            ),
        ),
    )
