"""Pictures for the Dagster UI: each function draws one PNG and returns it as Markdown for `MetadataValue.md`.

The image travels inside the text, so it needs no server. White background, so that it reads in a dark theme too. Equal
input gives equal bytes. What to keep out: numbers that people want to copy (use a table) and anything that names a client.
"""

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_LABEL = 24  # characters of a label before it is cut
MAX_TICKS = 12  # labels below an axis before some are left out
_INK, _ACCENT, _PALE = "#1f2933", "#2f6f8f", "#bcd4df"
_INCHES, _DPI = (6.4, 3.2), 80
_COLOURS = 32


def bar_chart(labels: Sequence[object], values: Sequence[float], title: str) -> str:
    """Vertical bars, one a label, in the order given. Raises ValueError when the lengths differ."""
    _same_length(labels, values)
    figure, axes = _blank(title)
    if not _said_empty(axes, values):
        places = range(len(values))
        axes.bar(places, values, color=_ACCENT)
        _ticks(axes, labels)
        if len(values) <= MAX_TICKS:
            for place, value in zip(places, values, strict=True):
                axes.annotate(f"{value:,.6g}", (place, value), ha="center", va="bottom", fontsize=8, color=_INK)
    return _markdown(figure, title)


def funnel(stages: Sequence[str], counts: Sequence[int], title: str) -> str:
    """Horizontal bars from the first stage down, each with its count and its share of the first.

    Raises ValueError when the lengths differ.
    """
    _same_length(stages, counts)
    figure, axes = _blank(title)
    if not _said_empty(axes, counts):
        places = range(len(counts))
        axes.barh(places, counts, color=_ACCENT)
        axes.set_yticks(places, [_short(stage) for stage in stages])
        axes.invert_yaxis()
        axes.set_xlim(0, max(*counts, 1) * 1.25)
        axes.xaxis.set_visible(False)
        for place, count in zip(places, counts, strict=True):
            share = f" ({count / counts[0]:.0%})" if counts[0] else ""
            axes.annotate(f" {count:,}{share}", (count, place), va="center", fontsize=9, color=_INK)
    return _markdown(figure, title)


def histogram(
    values: Sequence[float], title: str, *, bins: int = 30, threshold: float | None = None, unit: str = ""
) -> str:
    """How often which value occurs; `threshold` is a dashed line, `unit` names the axis."""
    figure, axes = _blank(title)
    if not _said_empty(axes, values):
        axes.hist(values, bins=bins, color=_ACCENT)
        axes.set_xlabel(unit)
        if threshold is not None:
            axes.axvline(threshold, color=_INK, linestyle="--", linewidth=1.2)
    return _markdown(figure, title)


def line_with_interval(
    labels: Sequence[object],
    values: Sequence[float | None],
    lows: Sequence[float],
    highs: Sequence[float],
    title: str,
) -> str:
    """A line over its interval, for instance conversion by week; None leaves a gap. Raises ValueError when lengths differ."""
    for others in (values, lows, highs):
        _same_length(labels, others)
    figure, axes = _blank(title)
    if not _said_empty(axes, values):
        places = list(range(len(values)))
        gaps = [float("nan") if value is None else value for value in values]
        known = [value is not None for value in values]
        # Bars as well as the band: a band alone is invisible around a single point.
        axes.fill_between(places, lows, highs, where=known, color=_PALE, linewidth=0)
        axes.vlines(
            places, [low if k else float("nan") for low, k in zip(lows, known, strict=True)], highs, color=_PALE
        )
        axes.plot(places, gaps, color=_ACCENT, marker="o", markersize=4)
        axes.set_ylim(bottom=min(0, *lows))
        _ticks(axes, labels)
    return _markdown(figure, title)


def _blank(title: str) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCHES, dpi=_DPI, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(_plain(title), color=_INK, fontsize=11, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_INK, labelsize=8)
    return figure, axes


def _said_empty(axes: "Axes", values: Sequence[object]) -> bool:
    if any(value is not None for value in values):
        return False
    axes.set_axis_off()
    axes.text(0.5, 0.5, "no data", ha="center", va="center", color=_INK, transform=axes.transAxes)
    return True


def _ticks(axes: "Axes", labels: Sequence[object]) -> None:
    """Label the places below the axis; leave out evenly when there are too many, tilt when they are long."""
    step = -(-len(labels) // MAX_TICKS)
    shown = [_short(label) for label in labels[::step]]
    tilt = 30 if sum(map(len, shown)) > 70 else 0
    axes.set_xticks(range(0, len(labels), step), shown, rotation=tilt, ha="right" if tilt else "center")


def _short(label: object) -> str:
    text = str(label)
    return _plain(text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 1]}…")


def _plain(text: str) -> str:
    """A service may be called "100$": a dollar must not start a formula."""
    return text.replace("$", r"\$")


def _same_length(one: Sequence[object], other: Sequence[object]) -> None:
    if len(one) != len(other):
        raise ValueError(f"{len(one)} labels for {len(other)} values")


def _markdown(figure: "Figure", title: str) -> str:
    from PIL import Image

    drawn, png = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    # Few colours make a fifth of the bytes; the copy carries no date and no version of the drawing library.
    Image.open(drawn).convert("RGB").quantize(_COLOURS).save(png, format="png", optimize=True)
    alt = "".join(" " if sign in "[]\r\n" else sign for sign in title)
    return f"![{alt}](data:image/png;base64,{base64.b64encode(png.getvalue()).decode('ascii')})"
