"""A figure in a live notebook that is as wide as its cell: plotly's widget alone would keep 700 pixels."""

import anywidget

_FIT = """
export default {
  render({ el }) {
    const fit = new ResizeObserver(() => window.dispatchEvent(new Event("resize")));
    fit.observe(el);
    return () => fit.disconnect();
  },
};
"""


class FitWidth(anywidget.AnyWidget):
    """Nothing to see: tells the figures of a page, which listen to its window, when their cell changes its width.

    It stands in the box that the figures are in; they need ``responsive`` in their configuration.
    """

    _esm = _FIT
