"""The lines of a console log that are known to say nothing about a run."""

from __future__ import annotations

import re

_BARS = (
    r".{0,300}\d%.*\[\d+:\d\d.*\]\s*$",  # download and progress bars
    r".{0,300}\[\d+:\d\d(?::\d\d)?,.*(?:B/s|it/s|s/it|examples/s)\]\s*$",
)
_TOOLS = (
    r"[\W_]{3,}$",  # rulers
    r"remote: |Unpacking objects: |(?:Receiving|Enumerating|Counting|Compressing) objects: |Resolving deltas: ",
    r"From (?:https?://|git@)|[0-9a-f]{7,40}\.\.\.?[0-9a-f]{7,40}\s|Updating [0-9a-f]{7}",
    r"Fast-forward$|Already up to date",
    r"\* (?:\[new \w+\]|branch|tag)\s|HEAD is now at |Cloning into ",
    r"(?:create|delete) mode \d{6} |rename .+ => .+\(\d+%\)",
    r"\S.*\s\|\s+(?:\d+\s*[+\-]*|Bin \d+ -> \d+ bytes)$|\d+ files? changed\b",
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.,]\d+: [IWEF] |[IWEF]\d{4} \d\d:\d\d:\d+\.\d+ ",  # TensorFlow, absl
    r"WARNING: All log messages before absl|To enable the following instructions: ",
    r"Token indices sequence length is longer than|\S+:\d+: \w*Warning: |warnings\.warn\(|\w*Warning: ",
    r"Requirement already satisfied|Collecting [\w.\-\[\]]+|Installing collected packages",
    r"Successfully installed |Downloading \S",
)
_SCRIPT = (
    r"Loading (?:training|validation) data|Loading from cache: |Loading [\d,]+ samples from|Cached to: |Loading GPT-2",
    r"Validation file not found|Generated \d+ validation samples|token\S{1,40}: |Weight Tying: ",
    r"Saved ~?[\d.]+M parameters",
    r"Collecting cache|ContextBlock frozen|Embedding frozen|Only TokenBlock will be trained",
    r"Results saved to: |Saved: |Alpha progression saved|Total time: |Total experiments: |Configurations(?: to test)?:",
    r"Sample sizes: |Window size: |Number of windows: |Multiplier: |Algorithms: |Context dims: |Config:$|Hypothesis: ",
    r"Post-training iterations: |Memory: |\d+\. \d+L_\d+d_\d+tok$|- \w+: layer=|Phase[12] params: [\d.]+M$",
    r"Loss calc: |Measuring convergence|Sampling [\d,]+ tokens|Verdict: |Iter \| MSE|\d+ \| [\d.]+ +\| |Trend: |DONE$",
    r"(?:RESULTS|DETAILED RESULTS|SUMMARY|RESULTS SUMMARY|ALPHA PROGRESSION ANALYSIS|COMPARISON)\b",
    r"(?:Config|Samples|Window)\s{2,}\S.*$|Best (?:PPL|Acc):\s|change: -?\d",
)
KNOWN = re.compile("|".join(f"(?:{each})" for each in _SCRIPT + _TOOLS + _BARS))
"""Matched against a line without its indentation and without a leading sign that is not ASCII."""
