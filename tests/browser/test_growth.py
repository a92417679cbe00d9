"""Promise: a page that stays open all day does not grow, nor does the process that serves it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("nicegui", reason="needs the page's library: pip install -r requirements/console.txt")
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(3600)]

MINUTES = int(os.environ.get("MQE_PAGE_MINUTES", "30"))
MOST_GROWTH = 1.15  # from the first to the last fifth of the time
PIECES = 20


def test_half_an_hour_without_growth(tmp_path: Path, visit) -> None:
    """Its memory, elements and listeners after collecting, and the server's memory; each the middle of a fifth."""
    from tests.browser.page_process import PageProcess

    process = PageProcess(tmp_path)
    try:
        page = visit(process.address)
        tools = page.context.new_cdp_session(page)
        tools.send("Performance.enable")
        found: list[dict[str, float]] = []
        for _ in range(PIECES):
            page.wait_for_timeout(60_000 * MINUTES / PIECES)
            tools.send("HeapProfiler.collectGarbage")
            metrics = {one["name"]: one["value"] for one in tools.send("Performance.getMetrics")["metrics"]}
            kept = {name: metrics[name] for name in ("JSHeapUsedSize", "Nodes", "JSEventListeners")}
            found.append({**kept, "server": process.memory_bytes})
            print({name: f"{value:,.0f}" for name, value in found[-1].items()}, flush=True)
        for name in found[0]:
            values, fifth = [one[name] for one in found], PIECES // 5
            first, last = sorted(values[:fifth])[fifth // 2], sorted(values[-fifth:])[fifth // 2]
            assert last <= MOST_GROWTH * first, f"{name} grew from {first:,.0f} to {last:,.0f}"
    finally:
        process.kill()
