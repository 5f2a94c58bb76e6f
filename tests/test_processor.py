"""What a run takes from the processor: by the table where it says, else by one trial that is kept; what is refused."""

import json

import pytest
import torch

from cvfp_core.errors import UsageError
from cvfp_core.protocol import processor, tuning
from cvfp_core.protocol.processor import Processor
from cvfp_core.protocol.products import onednn
from cvfp_core.protocol.tuning import refuse_slow_bfloat16, tuned
from cvfp_core.running.run import prepare
from cvfp_core.schema.settings import Shortcuts
from made_runs import made_cell, made_corpus, run

X86 = "processor\t: 0\nvendor_id\t: {}\nflags\t\t: fpu sse2 {}\n\nprocessor\t: 1\nvendor_id\t: other\n"


@pytest.fixture
def unlisted(monkeypatch):
    """A processor the table knows nothing of, without products in bfloat16."""
    monkeypatch.setattr(tuning, "processor", lambda: Processor(vendor="Zhaoxin", level="avx2"))


def takes(monkeypatch, **seconds):
    """Has trials take so many seconds; returns the list that each adds to."""
    made = []

    def least(ways):
        made.append(list(ways))
        return {name: seconds[name] for name in ways}

    monkeypatch.setattr(tuning, "_least", least)
    return made


@pytest.mark.parametrize(("cpuinfo", "allowed", "name"), [
    (X86.format("GenuineIntel", "avx2 fma"), "AVX2", "Intel avx2"),
    (X86.format("GenuineIntel", "avx2 avx512f"), "AVX512", "Intel avx512"),
    (X86.format("GenuineIntel", "avx2 avx512f amx_bf16 avx512_bf16"), "AVX512", "Intel amx"),
    (X86.format("GenuineIntel", "avx2 avx512f amx_bf16 avx512_bf16"), "AVX2", "Intel avx2"),
    (X86.format("AuthenticAMD", "avx2 avx512f avx512_bf16"), "AVX512", "AMD avx512-bf16"),
    (X86.format("HygonGenuine", "avx2"), "AVX2", f"{processor.platform.machine()} avx2"),
    ("CPU implementer : 0x41\nFeatures\t: fp asimd bf16\n", "DEFAULT", f"{processor.platform.machine()} neon-bf16"),
    ("CPU implementer : 0x41\nFeatures\t: fp asimd\n", "DEFAULT", f"{processor.platform.machine()} neon"),
    ("", "DEFAULT", f"{processor.platform.machine()} default"),
])
def test_a_processor_is_told_by_its_maker_and_the_best_instructions_that_torch_uses(
        tmp_path, monkeypatch, cpuinfo, allowed, name):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: allowed)
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert str(processor.processor(tmp_path / "cpuinfo")) == name


@pytest.mark.parametrize("name", processor.TABLE)
def test_what_the_table_says_is_not_timed(tmp_path, monkeypatch, name):
    vendor, level = name.split()
    monkeypatch.setattr(tuning, "processor", lambda: Processor(vendor=vendor, level=level))
    trials = takes(monkeypatch)
    made = tuned(Shortcuts(), tmp_path)
    assert made.product_library == processor.TABLE[name].library
    assert made.rows_at_once == processor.TABLE[name].rows_at_once
    assert made.words_at_once == processor.TABLE[name].words_at_once
    assert not trials
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("unlisted")
@pytest.mark.skipif(not onednn(), reason="this build of torch has no such product")
@pytest.mark.parametrize(("seconds", "library"), [(0.5, "onednn"), (0.82, "onednn"), (0.84, "torch"), (2.0, "torch")])
def test_another_library_is_taken_where_it_is_faster_by_more_than_a_fifth_and_kept(
        tmp_path, monkeypatch, seconds, library):
    trials = takes(monkeypatch, torch=1.0, onednn=seconds)
    assert tuned(Shortcuts()).product_library == "torch"  # nothing is timed without a place to keep it
    assert tuned(Shortcuts(), tmp_path).product_library == library
    takes(monkeypatch, torch=seconds, onednn=1.0)  # a busy minute later
    assert tuned(Shortcuts(), tmp_path).product_library == library
    assert len(trials) == 1
    (place,) = json.loads((tmp_path / "processors.json").read_text())
    assert place == f"Zhaoxin avx2, torch {torch.__version__}: library"


@pytest.mark.usefixtures("unlisted")
def test_a_torn_file_of_trials_is_made_anew(tmp_path, monkeypatch):
    (tmp_path / "processors.json").write_text("{")
    trials = takes(monkeypatch, bfloat16=1.0, float32=1.0)
    refuse_slow_bfloat16(Shortcuts(), tmp_path)
    assert len(trials) == 1
    assert list(json.loads((tmp_path / "processors.json").read_text()))


def test_what_is_pinned_is_taken_and_named_in_the_record(tmp_path):
    pinned = Shortcuts(product_library="torch", rows_at_once=300, words_at_once=9)
    assert tuned(pinned, tmp_path) == pinned
    record, _, _ = run(made_cell(shortcuts=pinned), made_corpus())
    assert record.tuning == "torch, blocks of 300 rows, chunks of 9 words"


def test_a_library_that_torch_has_not_is_refused(monkeypatch):
    monkeypatch.setattr(tuning, "onednn", lambda: False)
    with pytest.raises(UsageError, match=r"product_library is onednn, which this torch does not have; set auto or"):
        tuned(Shortcuts(product_library="onednn"))


@pytest.mark.usefixtures("unlisted")
def test_bfloat16_is_refused_where_it_is_slower_with_what_was_measured(tmp_path, monkeypatch):
    """0.8 GFLOP in 40 and 10 ms: 20 and 81 GFLOP/s."""
    monkeypatch.setenv("CVFP_CACHE", str(tmp_path / "cache"))
    takes(monkeypatch, bfloat16=0.04, float32=0.01)
    with pytest.raises(UsageError) as error:
        prepare(None, {"precision": "bfloat16", "device": "cpu"}, out=tmp_path / "runs")
    assert str(error.value) == (
        "precision bfloat16 is slower than float32 on this processor (Zhaoxin avx2): 20 against 81 GFLOP/s measured; "
        "leave it out, or set shortcuts.slow_bfloat16=true")
    refuse_slow_bfloat16(Shortcuts(slow_bfloat16=True), tmp_path / "cache")


@pytest.mark.usefixtures("unlisted")
def test_bfloat16_is_allowed_where_it_is_faster_or_the_processor_multiplies_it(tmp_path, monkeypatch):
    trials = takes(monkeypatch, bfloat16=0.01, float32=0.02)
    refuse_slow_bfloat16(Shortcuts(), tmp_path)
    for level in ("amx", "avx512-bf16", "neon-bf16"):
        monkeypatch.setattr(tuning, "processor", lambda level=level: Processor(vendor="any", level=level))
        refuse_slow_bfloat16(Shortcuts(), tmp_path)
    assert len(trials) == 1


@pytest.mark.usefixtures("unlisted")
def test_a_real_trial_measures_both_precisions(tmp_path):
    """Whichever is faster here, the speeds are those of the two, above nothing."""
    half, full = tuning._kept(tmp_path, "speeds", tuning._speeds)
    assert half > 0
    assert full > 0
