"""Images of figures: what is said where the browser does not draw."""

import sys
import time
from pathlib import Path

import psutil
import pytest

from vxlab import VxlabError
from vxlab.views.export import image

FIGURE = {"data": [{"y": [1, 2]}], "layout": {}}
REFUSAL = '{"id":0,"error":{"code":1,"message":"no"}}'
BROKEN = {
    "answers what is no JSON": "#!/bin/sh\nprintf 'junk\\000' >&4\nsleep 0.3\nexit 1\n",
    "answers and is gone": "#!/bin/sh\nprintf 'junk\\000' >&4\n",
    "refuses the first command": f"#!/bin/sh\nprintf '%s\\000' '{REFUSAL}' >&4\nsleep 0.3\n",
    "ends with a word of its own": "#!/bin/sh\necho no such library >&2\nexit 127\n",
    "is no program": "text",
}
SAID = r"^drawing a PNG needs a Chromium or Chrome on this machine: {}; BROWSER_PATH may name one$"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell's script stands for the browser")


def _stand_in(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = folder / "browser"
    browser.write_text(script)
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER_PATH", str(browser))


@pytest.mark.parametrize("script", BROKEN.values(), ids=BROKEN)
def test_a_browser_that_does_not_draw_costs_one_line_and_no_traceback(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    _stand_in(script, tmp_path, monkeypatch)
    monkeypatch.setattr(image, "_LONGEST", 4.0)
    with pytest.raises(VxlabError, match=SAID.format("[A-Z].{5,70}|the browser has not answered for 4 s")):
        image.draw_image(FIGURE, "png", 300, 1)
    assert tuple(capfd.readouterr()) == ("", "")


def test_a_browser_that_never_answers_is_given_up_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _stand_in("#!/bin/sh\necho $$ > $0.pid\nexec sleep 600\n", tmp_path, monkeypatch)
    monkeypatch.setattr(image, "_LONGEST", 2.0)
    with pytest.raises(VxlabError, match=SAID.format("the browser has not answered for 2 s")):
        image.draw_image(FIGURE, "png", 300, 1)
    pid = int(Path(tmp_path, "browser.pid").read_text())
    for _ in range(100):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.1)
    pytest.fail("the browser lives on")
