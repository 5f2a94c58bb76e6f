"""Figures: panels of marks, drawn by matplotlib for reports and `.plot()`, by Vega-Lite to hover over.

    marks.py    what a figure shows                     places.py colours.py    ranges, ticks, labels; colours
    curves.py surfaces.py isoflops.py phases.py         values -> a figure
    report.py   which figures a report has              paint.py vega.py        a figure -> a file
"""
