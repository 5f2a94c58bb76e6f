"""Validation text that also stands in the training text: the share measured, the warning of a run."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import made_grids
from cvfp_core.registry import installed
from cvfp_core.running.corpora import REPEATED, load_corpus
from cvfp_core.schema import store
from cvfp_core.schema.cells import CorpusChoice
from cvfp_corpora.repeats import PASSAGE, repeated


def text(characters, seed):
    """Letters at random, so that no two texts share a passage."""
    return "".join(np.random.default_rng(seed).choice(list("abcdefghijklmnop"), characters))


def slowly(train, val):
    """The same share, one passage after the other."""
    train, val = ([" ".join(each.split()) for each in part] for part in (train, val))
    known = {each[i:i + PASSAGE] for each in train for i in range(len(each) - PASSAGE + 1)}
    short = {each for each in train if len(each) < PASSAGE}
    covered = 0
    for each in val:
        marks = np.zeros(len(each), dtype=bool)
        for i in range(len(each) - PASSAGE + 1):
            marks[i:i + PASSAGE] |= each[i:i + PASSAGE] in known
        covered += len(each) if each in short else int(marks.sum())
    return covered / max(sum(map(len, val)), 1)


def test_a_passage_counts_from_64_characters_on_and_a_shorter_document_as_a_whole():
    shared = text(PASSAGE, 1)
    train = [text(500, 2) + shared + text(500, 3), "A short one."]
    assert repeated(train, [text(36, 4) + shared]) == PASSAGE / 100
    assert repeated(train, [text(37, 4) + shared[1:]]) == 0
    assert repeated(train, ["A short one."]) == 1
    assert repeated(train, ["A short one"]) == 0
    assert repeated(train, ["short one."]) == 0
    assert repeated(train, ["A  short\none."]) == 1
    assert repeated(train, [text(88, 5), "A short one."]) == 12 / 100
    assert repeated(train, [""]) == 0
    assert repeated([""], [text(100, 6), ""]) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.lists(st.integers(0, 5), min_size=1, max_size=6),
       st.integers(1, 200))
def test_the_share_is_that_of_a_plain_search(train, val, step):
    source = text(300, 9)

    def documents(starts):
        return [source[start * 13:start * 13 + step + 7 * i] for i, start in enumerate(starts)]

    assert repeated(documents(train), documents(val)) == pytest.approx(slowly(documents(train), documents(val)))


def test_training_text_is_searched_to_its_end():
    train = [text(1000, seed) for seed in range(600)]  # more than is hashed at once
    assert repeated(train, [train[0], train[299], train[599], text(1000, 601)]) == 0.75


@pytest.mark.parametrize(("options", "warned"), [({}, False), ({"repeats": "kept"}, True)])
def test_the_embedded_text_without_its_repeats_is_below_what_is_warned_of(options, warned, tmp_path):
    corpus = load_corpus(installed(), CorpusChoice(name="embedded", options=options), tmp_path)
    assert (corpus.val_repeated > REPEATED) == warned
    again = load_corpus(installed(), CorpusChoice(name="embedded", options=options), tmp_path)
    assert again.val_repeated == corpus.val_repeated


@pytest.mark.parametrize("source", ["text", *(pytest.param(each, marks=pytest.mark.slow) for each in ("jsonl", "hf"))])
def test_a_run_warns_of_users_text_that_stands_in_both_parts(source, tmp_path):
    documents = [text(200, seed) for seed in range(30)] * 2
    if source == "text":
        (tmp_path / "mine.txt").write_text("\n\n".join(documents))
        where = ("--corpus", "text", "--set", f"corpus.path={tmp_path / 'mine.txt'}")
    else:
        (tmp_path / "mine.jsonl").write_text("".join(json.dumps({"text": each}) + "\n" for each in documents))
        key = "path" if source == "jsonl" else "dataset"
        where = ("--corpus", source, "--set", f"corpus.{key}={tmp_path / 'mine.jsonl'}")
    done = made_grids.cvfp(
        "run", *where, "--set", "corpus.order=kept", "--set", "corpus.vocab_size=300", "--set", "corpus.embed_dim=16",
        "--variant", "1L_16d_1tok", "--samples", "4", "--out", tmp_path / "runs", "--jobs", 1, "--set", "device=cpu",
        *made_grids.SHORT, folder=tmp_path)
    name = {"text": "text:mine.txt", "jsonl": "jsonl:mine.jsonl", "hf": "hf:mine.jsonl"}[source]
    assert (
        f"cvfp: warning: 100% of the validation text of corpus '{name}' also stands in its training text, so "
        "perplexities will be lower than on new text; remove what is repeated, or split by source"
    ) in done.stderr.splitlines()
    (manifest,) = (tmp_path / "runs" / "default" / "manifests").glob("*.json")
    assert json.loads(manifest.read_text())["corpus"]["val_repeated"] == 1
    assert store.read(tmp_path / "runs")["status"].to_list() == ["ok"]
