"""Draws a Grafana dashboard from the answers of a Prometheus server, and has Chromium make a picture of it.

It is no Grafana: it shows what the panels hold, at the place and in the form that the dashboard gives them.
"""

import html
import math
import os
import subprocess
import tempfile

COLUMN, LINE, GAP = 60, 32, 6
PALETTE = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#37872d", "#fade2a", "#96d98d")

NAMED = {"green": "#73bf69", "blue": "#5794f2", "purple": "#b877d9", "orange": "#ff9830", "red": "#f2495c"}

STYLE = """
body { margin: 0; background: #111217; color: #ccccdc; font: 12px "DejaVu Sans", sans-serif; position: relative; }
.panel { position: absolute; background: #181b1f; border: 1px solid #2a2d33; border-radius: 2px; overflow: hidden; }
.row { position: absolute; font-size: 14px; color: #e6e6ee; }
h2 { font-size: 12px; font-weight: bold; margin: 6px 8px 0; color: #d8d9e2; }
.stat { font-size: 28px; text-align: center; color: #73bf69; margin-top: 14px; }
.legend { margin: 0 8px; line-height: 16px; color: #9fa7b3; }
.legend i { display: inline-block; width: 12px; height: 3px; margin: 0 4px 3px 0; }
.legend span { margin-right: 12px; white-space: nowrap; }
.none { text-align: center; color: #8e8e99; margin-top: 40px; }
table { margin: 6px 8px; border-collapse: collapse; width: calc(100% - 16px); }
td, th { text-align: left; padding: 3px 6px; border-bottom: 1px solid #2a2d33; font-weight: normal; }
svg text { fill: #9fa7b3; font: 10px "DejaVu Sans", sans-serif; }
"""


def number(value, unit):
    """The value as Grafana would write it."""
    if value is None or math.isnan(value):
        return "–"
    if unit == "percentunit":
        return f"{value * 100:.1f} %"
    steps = {
        "s": ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
        "bytes": ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B")),
    }.get(unit, ((1e6, "M"), (1e3, "k"), (1, "")))
    if unit == "s" and value >= 3600:
        return f"{value / 3600:.1f} h"
    for size, name in steps:
        if abs(value) >= size:
            break
    suffix = {"reqps": "/s", "ops": "/s"}.get(unit, "")
    digits = 0 if value == 0 else max(0, 2 - int(math.floor(math.log10(abs(value / size)))))
    text = f"{value / size:.{min(digits, 2)}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{text} {name}{suffix}".strip()


def colours(series, panel):
    """One for each series: what the dashboard fixes for its name, else the next of the palette."""
    fixed = {
        override["matcher"]["options"]: NAMED[override["properties"][0]["value"]["fixedColor"]]
        for override in panel["fieldConfig"]["overrides"]
    }
    return [fixed.get(name, PALETTE[at % len(PALETTE)]) for at, (name, _) in enumerate(series)]


def chart(series, panel, width, height):
    """An SVG of the series: `(legend, [(time, value)])`, stacked where the panel says so."""
    custom = panel["fieldConfig"]["defaults"].get("custom", {})
    unit = panel["fieldConfig"]["defaults"]["unit"]
    stacked = custom.get("stacking", {}).get("mode") == "normal"
    logarithmic = custom.get("scaleDistribution", {}).get("type") == "log"
    left, top, bottom = 62, 6, 18
    inner, tall = width - left - 8, height - top - bottom
    times = sorted({t for _, points in series for t, _ in points})
    first, last = times[0], max(times[-1], times[0] + 1)
    below, lines = {}, []
    for name, points in series:
        here = []
        for t, value in points:
            base = below.get(t, 0.0) if stacked else 0.0
            here.append((t, base, base + value))
            if stacked:
                below[t] = base + value
        lines.append((name, here))
    values = [value for _, here in lines for _, _, value in here]
    most = max(values) or 1.0
    if logarithmic:
        low = math.floor(math.log10(min(v for v in values if v > 0)))
        high = max(math.ceil(math.log10(most)), low + 1)
        ticks = [10.0**e for e in range(low, high + 1)]
        place = lambda v: top + tall * (1 - (math.log10(max(v, 10.0**low)) - low) / (high - low))
    else:
        step = 10 ** math.floor(math.log10(most / 4))
        step = next(step * k for k in (1, 2, 2.5, 5, 10) if step * k * 4 >= most)
        ticks = [step * k for k in range(5)]
        place = lambda v: top + tall * (1 - v / (step * 4))
    across = lambda t: left + inner * (t - first) / (last - first)
    out = [f'<svg width="{width}" height="{height}">']
    for tick in ticks:
        out.append(f'<line x1="{left}" x2="{left + inner}" y1="{place(tick):.1f}" y2="{place(tick):.1f}" stroke="#2a2d33"/>')
        out.append(f'<text x="{left - 6}" y="{place(tick) + 3:.1f}" text-anchor="end">{number(tick, unit) if tick else 0}</text>')
    for part in range(5):
        t = first + (last - first) * part / 4
        anchor = "end" if part == 4 else "middle"
        out.append(f'<text x="{across(t):.1f}" y="{height - 4}" text-anchor="{anchor}">{t - first:.0f} s</text>')
    for colour, (_, here) in zip(colours(series, panel), lines):
        line = " ".join(f"{across(t):.1f},{place(v):.1f}" for t, _, v in here)
        if custom.get("fillOpacity"):
            floor = " ".join(f"{across(t):.1f},{place(b):.1f}" for t, b, _ in reversed(here))
            shade = custom["fillOpacity"] / 100 if not logarithmic else 0
            out.append(f'<polygon points="{line} {floor}" fill="{colour}" fill-opacity="{shade}"/>')
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.4"/>')
    return "".join([*out, "</svg>"])


def body(panel, series, width, height):
    defaults = panel["fieldConfig"]["defaults"]
    unit = defaults["unit"]
    if not series:
        return '<div class="none">No data</div>'
    if panel["type"] == "stat":
        if panel["options"]["textMode"] == "name":
            text = ", ".join(name for name, _ in series)
        else:
            value = series[0][1][-1][1]
            text = number(value, unit)
            for mapping in defaults.get("mappings", []):
                text = mapping["options"].get(f"{value:g}", {}).get("text", text)
        return f'<div class="stat">{html.escape(text)}</div>'
    if panel["type"] == "table":
        lines = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{number(points[-1][1], unit)}</td></tr>" for name, points in series
        )
        return f"<table><tr><th></th><th>Value</th></tr>{lines}</table>"
    keys = "".join(
        f'<span><i style="background:{colour}"></i>{html.escape(name)}</span>'
        for colour, (name, _) in zip(colours(series, panel), series)
    )
    legend = 16 * (1 + sum(len(name) + 4 for name, _ in series) * 7 // width)
    return f'{chart(series, panel, width, height - 30 - legend)}<div class="legend">{keys}</div>'


def page(dashboard, answers):
    """The dashboard as HTML and its size; `answers` holds the series of a panel by its id."""
    out, bottom = [], 0
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        left, top = GAP + at["x"] * COLUMN, GAP + at["y"] * LINE
        width, height = at["w"] * COLUMN - GAP, at["h"] * LINE - GAP
        bottom = max(bottom, top + height)
        place = f"left:{left}px;top:{top}px;width:{width}px;height:{height}px"
        title = html.escape(panel["title"])
        if panel["type"] == "row":
            out.append(f'<div class="row" style="{place}">⌄ {title}</div>')
        else:
            inside = body(panel, answers[panel["id"]], width, height)
            out.append(f'<div class="panel" style="{place}"><h2>{title}</h2>{inside}</div>')
    style = f"<style>{STYLE}</style>"
    return f'<!doctype html><meta charset="utf-8">{style}<body>{"".join(out)}', 24 * COLUMN + GAP, bottom + GAP


def draw(dashboard, answers, path):
    text, width, height = page(dashboard, answers)
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "dashboard.html")
        with open(source, "w") as f:
            f.write(text)
        command = ["chromium", "--headless", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/profile"]
        # Chromium's sandbox does not work for root.
        command += ["--no-sandbox"] if os.geteuid() == 0 else []
        command += [f"--window-size={width},{height}", f"--screenshot={os.path.abspath(path)}", f"file://{source}"]
        subprocess.run(command, check=True, timeout=120, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
