"""`mqe data view`: episodes of a store on a page, with a slider over their frames.

A page, and not a viewer such as Rerun: it needs nothing installed, can be made on a machine without a screen, and sent
to somebody.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mqe_core.data.store.episode_store import EpisodeStore
from mqe_core.data.units import ACTION_NAMES, STATE_NAMES, UNITS
from mqe_core.files import web_page as html
from mqe_core.files.disk import write_atomically
from mqe_core.files.kinds import PAGE
from mqe_core.files.outputs import check_file
from mqe_core.files.svg import COLOURS, LEFT_PX, RIGHT_PX, Line, chart
from mqe_core.images import encode_jpeg
from mqe_core.robot.arrays import AnyArray

MOST_EPISODES = 12  # that are shown where none are named
_JPEG_QUALITY = 85  # of pictures on the page; the store's stay as they are
_CHART_PX = 520
# Unit, how much of it is one of the store's, columns.
_CHARTS = (("mm", 1e3, slice(0, 3)), ("degrees", 180.0 / np.pi, slice(3, 6)), ("1 open", 1.0, slice(6, 7)))

_BODY = """
<p><select id="episode"></select> <button id="play">play</button> <span id="where"></span></p>
<p id="words"></p>
<input type="range" id="frame" min="0" value="0">
<div id="pictures" style="display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px;
  max-width: 980px; margin: 10px 0"></div>
<div class="row">
<div style="position: relative; flex: 1 1 300px; max-width: 520px" id="charts"></div>
<table id="numbers"></table>
</div>
"""

_SCRIPT = """
const said = JSON.parse(document.getElementById("figures").textContent);
const at = name => document.getElementById(name);
let timer = null;
said.episodes.forEach((episode, index) => {
  const option = document.createElement("option");
  option.value = index; option.textContent = episode.number + "  " + episode.name; at("episode").append(option);
});
function fill(state, action) {
  const rows = [["", "state", "action", ""]];
  said.state_names.forEach((name, k) => rows.push(
    [name, state[k].toFixed(4), action ? action[k].toFixed(4) : "\u2013", said.units[k]]));
  at("numbers").replaceChildren(...rows.map((cells, number) => {
    const row = document.createElement("tr");
    row.append(...cells.map(cell => {
      const made = document.createElement(number ? "td" : "th"); made.textContent = cell; return made;
    }));
    return row;
  }));
}
function show() {
  const episode = said.episodes[at("episode").value], t = Number(at("frame").value);
  const last = episode.states.length - 1;
  at("where").textContent = "frame " + t + " of " + last + ", " + (t / said.control_hz).toFixed(1) + " s";
  for (const image of at("pictures").querySelectorAll("img")) image.src = episode.cameras[image.dataset.camera][t];
  const share = t / last;
  const across = said.left_px + share * (said.chart_px - said.left_px - said.right_px);
  at("cursor").style.left = 100 * across / said.chart_px + "%";
  fill(episode.states[t], episode.actions[t]);
}
function choose() {
  const episode = said.episodes[at("episode").value];
  at("frame").max = episode.states.length - 1; at("frame").value = 0;
  const split = episode.split ? "  (split " + episode.split + ")" : "";
  at("words").textContent = (episode.languages.join(" | ") || "no instruction") + split;
  at("pictures").replaceChildren(...Object.keys(episode.cameras).map(camera => {
    const figure = document.createElement("figure"), image = document.createElement("img");
    image.dataset.camera = camera; image.style.cssText = "width: 100%; height: auto";
    figure.style.cssText = "max-width: 320px";
    figure.append(image, "camera " + camera); return figure;
  }));
  at("charts").innerHTML = episode.charts;
  const cursor = document.createElement("div");
  cursor.id = "cursor"; cursor.style.cssText = "position: absolute; top: 0; bottom: 0; width: 1px; background: #d00";
  at("charts").append(cursor); show();
}
at("episode").addEventListener("change", choose);
at("frame").addEventListener("input", show);
at("play").addEventListener("click", () => {
  if (timer) { clearInterval(timer); timer = null; at("play").textContent = "play"; return; }
  at("play").textContent = "stop";
  timer = setInterval(() => {
    at("frame").value = (Number(at("frame").value) + 1) % (Number(at("frame").max) + 1); show();
  }, 1000 / said.control_hz);
});
choose();
"""


def write_view(store: EpisodeStore, out: Path, numbers: list[int] | None = None) -> list[int]:
    """Write the page to `out`; returns the numbers of the episodes on it: those asked for, else at most MOST_EPISODES,
    evenly chosen. ValueError for a number that the store does not have, or where another file stands at `out`.
    """
    check_file(out, PAGE, apart=True)
    if numbers is None:
        chosen = np.unique(np.linspace(0, store.num_episodes - 1, min(store.num_episodes, MOST_EPISODES)).astype(int))
        numbers = [int(number) for number in chosen]
    for number in numbers:
        if not 0 <= number < store.num_episodes:
            raise ValueError(f"{store.path} has the episodes 0 to {store.num_episodes - 1}, not {number}")
    content = {
        "control_hz": store.control_hz,
        "left_px": LEFT_PX,
        "right_px": RIGHT_PX,
        "chart_px": _CHART_PX,
        "state_names": STATE_NAMES,
        "units": [*UNITS[:6], "1 open"],
        "episodes": [_episode(store, number) for number in numbers],
    }
    said = (
        f"{len(numbers)} of {store.num_episodes} episodes, {store.image_size} px, {store.control_hz:g} Hz, "
        f"{store.metadata['domain']} ({store.metadata['format']}). Pictures are shown as JPEG."
    )
    page = html.page(f"Episodes of {store.path.name}", [html.paragraph(said), _BODY], content, _SCRIPT)
    write_atomically(out, page)
    return numbers


def _episode(store: EpisodeStore, number: int) -> dict[str, Any]:
    start, end = int(store.episode_starts[number]), int(store.episode_ends[number])
    frames = np.arange(start, end)
    states, actions = store.states[start:end], store.actions[start : end - 1]
    return {
        "number": number,
        "name": store.names[number],
        "languages": store.languages[number],
        "split": store.splits[number],
        "states": _rounded(states),
        "actions": [*_rounded(actions), None],
        "cameras": {
            str(camera): [html.data_uri(encode_jpeg(image, _JPEG_QUALITY)) for image in store.images(frames, camera)]
            for camera in store.cameras
            if store.has_image(camera)[start]
        },
        "charts": "".join(
            _chart(factor * actions, unit, columns, len(frames) - 1) for unit, factor, columns in _CHARTS
        ),
    }


def _rounded(values: AnyArray) -> list[list[float]]:
    return [[round(float(value), 5) for value in row] for row in values]


def _chart(actions: AnyArray, unit: str, columns: slice, last: int) -> str:
    """The actions (T-1, 7) over the frames 0 to `last`."""
    lines = [
        Line(name, [(float(t), float(value)) for t, value in enumerate(actions[:, column])], COLOURS[column % 3])
        for column, name in list(enumerate(ACTION_NAMES))[columns]
    ]
    whole = Line("", [(0.0, 0.0), (float(last), 0.0)], "#bbb", 1.0)
    return f"<div>{chart([whole, *lines], 'frame', unit, width=_CHART_PX, height=190)}</div>"
