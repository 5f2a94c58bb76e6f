"""Writes docs/report.png: the law and forecast of a report on examples/others-runs/table.csv, as a browser shows it.

    python docs/make_report_png.py      # needs Chromium
"""

from __future__ import annotations

import base64
import sys
import tempfile
from pathlib import Path

import cvfp_core as cvfp

ROOT = Path(__file__).parents[1]
FROM, TO = "Best law and forecast", "Points: runs, coloured by another input"
PLACE = """(() => {
  const top = (tag, text) => [...document.querySelectorAll(tag)].find(each => each.textContent.startsWith(text))
    .getBoundingClientRect();
  return [top("h2", "%s").top, top("p", "%s").bottom];
})()"""


def main() -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    import chromium

    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.html"
        cvfp.write_report(ROOT / "examples" / "others-runs" / "table.csv", report, embed=True)
        with chromium.Page(Path(folder) / "browser") as page:
            page.open(report, width=880)
            top, bottom = page.value(PLACE % (FROM, TO))
            clip = {"x": 0, "y": top - 12, "width": 880, "height": bottom - top + 24, "scale": 1.25}
            made = page.send("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
    (ROOT / "docs" / "report.png").write_bytes(base64.b64decode(made["data"]))


if __name__ == "__main__":
    main()
