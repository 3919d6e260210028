"""The process that draws an image: a program of its own, without vxlab, so that it starts at once.

Reads ``{"figure": …, "options": …}`` as JSON and writes the image's bytes; where it fails, why, and ends with 1.
"""

import json
import sys


def main() -> None:
    asked = json.load(sys.stdin)
    try:
        import kaleido

        # A browser for each image: kaleido's shared server waits for ever where the browser does not start, and makes
        # plotly's own drawing warn. Without MathJax, which kaleido would fetch.
        browser = {"n": 1, "page_generator": kaleido.PageGenerator(mathjax=False)}
        image = bytes(kaleido.calc_fig_sync(asked["figure"], opts=asked["options"], kopts=browser))
    except Exception as error:  # kaleido and what it starts fail in many ways
        sys.exit(_said(error))
    sys.stdout.buffer.write(image)


def _said(error: Exception) -> int:
    """Tell an error's first sentence: some have several, as arguments or as lines."""
    first = str(error.args[0] if error.args else "").strip().partition("\n")[0].partition(". ")[0].rstrip(".")
    print(first or type(error).__name__)
    return 1


if __name__ == "__main__":
    main()
