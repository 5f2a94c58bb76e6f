"""The site of the documentation: built without a warning, and it asks nothing of any host."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import chromium

ROOT = Path(__file__).parents[1]
ASSET = re.compile(r"<(?:script|img|link|iframe|source|video)\b[^>]*?\b(?:src|href)=\"([^\"]+)\""
                   r"|(?:url\(|@import )['\"]?([^'\")]+)")


def build(folder, *options):
    return subprocess.run([sys.executable, "-m", "mkdocs", "build", "-d", str(folder), *options], cwd=ROOT,
                          text=True, capture_output=True, check=False, timeout=900)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = build(folder)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_the_site_has_every_page_of_docs_and_the_pages_that_stand_elsewhere(site):
    made = {page.relative_to(site).with_suffix("").as_posix() for page in site.rglob("*.html")}
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} <= made
    assert {"index", "results", "changelog", "contributing", "architecture", "examples/phase1-to-ppl/report",
            "examples/scaling-laws"} <= made
    assert "examples/phase1-to-ppl/index.html" in (site / "reports.html").read_text(encoding="utf-8")
    assert 'href="examples/scaling-laws.html"' in (site / "python.html").read_text(encoding="utf-8")
    book = (site / "examples" / "scaling-laws.html").read_text(encoding="utf-8")
    assert book.count("<img alt=") == book.count("data:image/png;base64,") == 3
    assert book.count("<table") >= 6
    assert not list(site.rglob("*.py"))


def test_nothing_that_a_page_loads_is_of_another_host(site):
    loaded = [(file.name, address) for file in site.rglob("*") if file.suffix in (".html", ".css")
              for found in ASSET.findall(file.read_text(encoding="utf-8")) for address in found if address]
    assert len(loaded) > 100
    assert [each for each in loaded if re.match(r"(\w+:)?//", each[1]) and not each[1].startswith("data:")] == []


@pytest.mark.skipif(chromium.found() is None, reason="no Chromium here (CVFP_CHROMIUM)")
def test_a_page_from_disk_asks_for_files_only_and_fits_a_telephone(site, tmp_path):
    with chromium.Page(tmp_path) as page:
        for name in ("index", "law-list", "settings", "examples/scaling-laws"):
            page.open(site / f"{name}.html", width=390)
            assert page.value("document.documentElement.scrollWidth") == 390
            asked = page.requests()
            assert len(asked) > 5
            assert [each for each in asked if not each.startswith(("file:", "data:"))] == []


def test_a_link_to_nowhere_stops_the_build(tmp_path):
    (tmp_path / "mkdocs.yml").write_text(
        (ROOT / "mkdocs.yml").read_text(encoding="utf-8").replace("docs_dir: docs", f"docs_dir: {tmp_path / 'docs'}")
        .replace("hooks: [", f"hooks: [{ROOT}/").partition("nav:")[0])
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "site.css").touch()
    (tmp_path / "docs" / "page.md").write_text("[there](nowhere.md)\n")
    done = build(tmp_path / "site", "-f", str(tmp_path / "mkdocs.yml"))
    assert done.returncode == 1
    assert "contains a link 'nowhere.md'" in done.stderr
