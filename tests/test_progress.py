"""A bar with a delay stays out of sight where all is done by then."""

import pytest

from vxlab.progress import progress_bar


@pytest.mark.parametrize(("delay", "shown"), [(0.0, True), (60.0, False)])
def test_a_bar_shows_after_its_delay(delay, shown, capsys):
    with progress_bar(2, "singular values", "layer", delay=delay) as bar:
        bar.update(2)
    assert ("singular values" in capsys.readouterr().out) is shown
