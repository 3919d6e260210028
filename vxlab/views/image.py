"""A plotly figure as the bytes of a PNG or an SVG, drawn by a Chromium of this machine and by nothing beyond it."""

from typing import Any, Literal

from vxlab.errors import VxlabError


def drawn(figure: dict[str, Any], kind: Literal["png", "svg"], width: int, scale: float) -> bytes:
    """Return the image of a figure; takes three seconds or so, most of them the browser's start.

    Args:
        figure: plotly's ``data`` and ``layout``; the layout's height holds, 450 pixels where it has none.
        kind: the format.
        width: pixels the figure is laid out for.
        scale: pixels of the image for each of them.

    Raises:
        VxlabError: there is no Chromium or Chrome here, or it did not draw.
    """
    options = {"format": kind, "width": width, "height": figure["layout"].get("height") or 450, "scale": scale}
    try:
        import kaleido

        # A browser for each image: kaleido's shared server waits for ever where the browser does not start, and makes
        # plotly's own drawing warn. Without MathJax, which kaleido would fetch.
        browser = {"n": 1, "page_generator": kaleido.PageGenerator(mathjax=False)}
        return bytes(kaleido.calc_fig_sync(figure, opts=options, kopts=browser))
    except Exception as error:  # kaleido and what it starts fail in many ways, and none may cost a report
        reason = str(error).strip().partition("\n")[0].partition(". ")[0] or type(error).__name__
        raise VxlabError(f"drawing a {kind.upper()} needs a Chromium or Chrome on this machine: {reason}") from error
