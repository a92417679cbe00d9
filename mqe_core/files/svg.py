"""Figures as SVG, for pages that fetch nothing: lines over an axis, and arrows.

They shrink with the page. What is no data has a class of the page's style (`web_page.py`), which knows light and dark.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

COLOURS = ("#1f77b4", "#d95f02", "#2a8f3c", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f")
LEFT_PX, RIGHT_PX = 60, 12  # beside the axes
_TOP, _BOTTOM = 26, 40


@dataclass(frozen=True)
class Line:
    """Points (x, y) of one colour, all finite; a line without a label is not in the legend."""

    label: str
    points: Sequence[tuple[float, float]]
    colour: str
    width: float = 1.6
    dashed: bool = False


def chart(lines: Sequence[Line], x_label: str, y_label: str, *, width: int = 520, height: int = 300) -> str:
    """Lines over one pair of axes, both of which show 0."""
    points = [point for line in lines for point in line.points] or [(0.0, 0.0)]
    x_low, x_high = _span([x for x, _ in points])
    y_low, y_high = _span([y for _, y in points])
    inner_width, inner_height = width - LEFT_PX - RIGHT_PX, height - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = (x - x_low) / (x_high - x_low), (y - y_low) / (y_high - y_low)
        return LEFT_PX + across * inner_width, _TOP + (1 - up) * inner_height

    parts = [f'<rect x="{LEFT_PX}" y="{_TOP}" width="{inner_width}" height="{inner_height}" fill="none" class="edge"/>']
    for value in _ticks(x_low, x_high):
        x, y = place(value, y_low)
        parts.append(_mark(x, y, x, _TOP) + _text(x, y + 15, f"{value:g}"))
    for value in _ticks(y_low, y_high):
        x, y = place(x_low, value)
        parts.append(_mark(x, y, width - RIGHT_PX, y) + _text(x - 5, y + 4, f"{value:g}", "end"))
    for line in lines:
        at = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line.points))
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        parts.append(f'<polyline points="{at}" fill="none" stroke="{line.colour}" stroke-width="{line.width}"{dash}/>')
    x = float(LEFT_PX)
    for line in [line for line in lines if line.label]:
        parts.append(_mark(x, 14, x + 16, 14, line.colour, 2.5) + _text(x + 20, 18, line.label, "start"))
        x += 36 + 7.6 * len(line.label)
    parts.append(_text(LEFT_PX + inner_width / 2, height - 6, x_label))
    turn = f'transform="rotate(-90 13 {_TOP + inner_height / 2})"'
    parts.append(_text(13, _TOP + inner_height / 2, y_label, "middle", turn))
    return _figure(width, height, parts, "chart")


def arrows(ways: Sequence[tuple[float, float, float]], colours: Sequence[str], most: float, size: int = 112) -> str:
    """Motions (forward, left, up) from the middle, seen from above with forward at the top, and beside it how far up or
    down; `most` reaches the edge.
    """
    middle, reach = size / 2 - 8, (size / 2 - 12) / most
    parts = [
        f'<rect x="0.5" y="0.5" width="{size - 1}" height="{size - 1}" class="back edge"/>',
        _mark(middle, 6, middle, size - 6) + _mark(6, middle, size - 22, middle),
    ]
    for number, ((forward, left, up), colour) in enumerate(zip(ways, colours)):
        x, y = middle - left * reach, middle - forward * reach
        parts.append(
            _mark(middle, middle, x, y, colour, 2.5) + f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'
        )
        column = size - 14 + 7 * number
        parts.append(_mark(column, middle, column, middle - up * reach, colour, 4))
    return _figure(size, size, parts, "arrows")


def _figure(width: int, height: int, parts: Sequence[str], kind: str) -> str:
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f'<svg {size} class="{kind}" role="img">{"".join(parts)}</svg>'


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(0.0, *values), max(0.0, *values)
    return (low, high) if high - low > 1e-9 else (low, low + 1.0)


def _ticks(low: float, high: float) -> list[float]:
    """Round values, four to eight of them."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [round(number * step, 10) for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _mark(x: float, y: float, to_x: float, to_y: float, colour: str = "", width: float = 1) -> str:
    """A straight line; without a colour that of the grid."""
    look = f'stroke="{colour}"' if colour else 'class="grid"'
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" {look} stroke-width="{width}"/>'


def _text(x: float, y: float, content: str, anchor: str = "middle", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{html.escape(content)}</text>'
