"""Web pages in one file: text, tables, pictures and figures, and nothing that is fetched from elsewhere."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence

MARK = "<!-- made by mqe -->"
# Light or dark as the reader's system is; one column on a telephone.
_STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --faint: #f4f4f4; --edge: #ccc; --grid: #e4e4e4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --paper: #16181b; --faint: #22262b; --edge: #4a4f55; --grid: #31363c; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1080px;
  margin: 2em auto; padding: 0 1em; overflow-wrap: anywhere; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid var(--edge); }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: 1em 0; overflow-wrap: normal; }
td, th { padding: 3px 12px; text-align: right; white-space: nowrap; }
th { border-bottom: 1px solid var(--edge); font-weight: 600; }
td:first-child, th:first-child { text-align: left; padding-left: 4px; white-space: normal; }
tr:nth-child(odd) td { background: var(--faint); } p { max-width: 48em; }
svg { display: block; height: auto; max-width: 100%; } svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
svg .grid { stroke: var(--grid); } svg .edge { stroke: var(--edge); } svg .back { fill: var(--faint); }
.row { display: flex; flex-wrap: wrap; gap: 10px; align-items: flex-start; margin: 10px 0; }
figure { margin: 0; font-size: 12px; text-align: center; } figure svg { margin: auto; }
figure img { display: block; width: 96px; height: 96px; }
.own img { outline: 3px solid #2a8f3c; } pre { white-space: pre-wrap; }
input[type=range] { width: 100%; } select { max-width: 100%; }
@media (max-width: 600px) {
  body { margin: 1em auto; } td, th { padding: 3px 6px; font-size: 13px; } svg.chart text { font-size: 15px; }
}
"""


def page(title: str, sections: Sequence[str], figures: object = None, script: str = "") -> bytes:
    """The file. `figures`, where given, stand in it as JSON, in the element `figures`. ValueError where a number in
    them is not finite.
    """
    said = ""
    if figures is not None:
        content = json.dumps(figures, allow_nan=False).replace("<", "\\u003c")
        said = f'<script type="application/json" id="figures">{content}</script>\n'
    code = f"<script>{script}</script>\n" if script else ""
    view = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    head = f'<meta charset="utf-8">{view}<title>{text(title)}</title><style>{_STYLE}</style>'
    body = "\n".join([f"<h1>{text(title)}</h1>", *sections])
    lines = [
        "<!doctype html>",
        MARK,
        f'<html lang="en"><head>{head}</head>',
        "<body>",
        body,
        said + code + "</body></html>",
    ]
    return "\n".join(lines).encode(errors="replace")


def text(content: object) -> str:
    """As text, whatever it holds."""
    return html.escape(str(content))


def section(title: str, *parts: str) -> str:
    """A heading and what stands under it, which is HTML."""
    return "\n".join([f"<h2>{text(title)}</h2>", *parts])


def paragraph(content: str) -> str:
    """Of plain text."""
    return f"<p>{text(content)}</p>"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Of plain text; the first column is that of names."""
    lines = ["<tr>" + "".join(f"<th>{text(cell)}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<div class='wide'><table>{''.join(lines)}</table></div>"


def data_uri(picture: bytes) -> str:
    """A PNG or JPEG as an address that holds it."""
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"


def picture(encoded: bytes, caption: str, marked: bool = False) -> str:
    """A PNG or JPEG with a line under it; `marked`: with a frame."""
    mark = ' class="own"' if marked else ""
    return f'<figure{mark}><img src="{data_uri(encoded)}" alt="">{text(caption)}</figure>'


def row(*parts: str) -> str:
    """Side by side, as far as there is room."""
    return f'<div class="row">{"".join(parts)}</div>'
