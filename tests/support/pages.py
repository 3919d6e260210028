"""Pages as a reader's browser shows them: what they ask the network for, what goes wrong, how readable they are."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def chromium() -> str:
    """Return the browser's path, or skip the test with the reason."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("there is no chromium on this machine")
    return found


@contextmanager
def start_browser() -> Iterator[Any]:
    """Start a headless browser; skip the test where there is none."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextmanager
def shown(browser: Any, page: Path, width: int = 900, scheme: str = "light") -> Iterator[Any]:
    """Open a page and yield its tab; in the end it has asked for nothing but itself, and no script has failed."""
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    asked: list[str] = []
    errors: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(page.as_uri())
    yield tab
    tab.close()
    assert (asked, errors) == ([page.as_uri()], []), (asked, errors)


def weakest_contrast(tab: Any) -> dict[str, Any]:
    """Return the text with the least contrast, with everything unfolded."""
    tab.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    weakest: dict[str, Any] = tab.evaluate(_WEAKEST_CONTRAST)
    return weakest


# WCAG 2.2's contrast ratio of every text outside figures, against the nearest background that is not transparent.
_WEAKEST_CONTRAST = """() => {
  const parse = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = rgb => rgb.slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const background = node => { for (; node; node = node.parentElement) {
    const rgb = parse(getComputedStyle(node).backgroundColor);
    if (rgb.length < 4 || rgb[3] > 0) return rgb; } return [255, 255, 255]; };
  let weakest = {ratio: 21};
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || node.closest('.js-plotly-plot, script, style')) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(background(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < weakest.ratio) weakest = {ratio, text: walker.currentNode.data.slice(0, 40), tag: node.className};
  }
  return weakest; }"""
