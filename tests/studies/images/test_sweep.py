"""What the page compares at each scale, and that what is chosen wins."""

import pytest

import vxlab
from vxlab.experiments.models import model_fingerprint
from vxlab.studies.images import image_sweeps, smoke_images

METHODS = {"probe": None, "head": None, "full": None, "lora": None, "vera": 7, "lora_xs": None}


@pytest.mark.parametrize("scale", ["smoke", "small", "paper"])
def test_every_scale_has_all_methods_and_a_draw_for_each_seed(scale: str) -> None:
    sweeps = image_sweeps(scale, [], METHODS, {})
    for shots, fair in sweeps.items():
        assert [each.method.name for each in fair.names.values()] == list(METHODS)
        assert fair.settings["shots"] == shots
        assert fair.draws_vary
        assert "VeRA r=7" in fair.names
    assert list(sweeps) == sorted(sweeps)


def test_at_paper_scale_it_is_the_papers_recipe() -> None:
    (fair,) = image_sweeps("paper", [], METHODS | {"vera": None}, {}).values()
    asked = {name: fair.settings[name] for name in ("model", "task", "shots", "epochs", "targets")}
    assert asked == {
        "model": "google/vit-base-patch16-224-in21k", "task": "cifar100", "shots": 10, "epochs": 10,
        "targets": "query-value",
    }  # fmt: skip
    assert {"LoRA r=8", "VeRA r=256"} <= set(fair.names)


def test_what_is_chosen_wins_over_the_scale() -> None:
    chosen = {"task": "photos", "resolution": 112, "epochs": None, "learning_rates": 5, "report_seeds": 4}
    sweeps = image_sweeps("small", [7, 3, 7], METHODS, chosen, {"lora": 1e-3})
    assert list(sweeps) == [3, 7]
    assert (sweeps[3].settings["task"], sweeps[3].settings["resolution"]) == ("photos", 112)
    assert (sweeps[3].learning_rates, sweeps[3].report_seeds) == (5, 4)
    assert sweeps[3].names["LoRA r=8"].learning_rate == 1e-3


def test_another_model_does_not_take_the_scales_resolution() -> None:
    assert "resolution" not in image_sweeps("small", [2], METHODS, {"model": "vit"})[2].settings


def test_no_shots_and_an_unknown_method_are_refused() -> None:
    with pytest.raises(vxlab.VxlabError, match=r"shots=\[2, 0\] holds 0"):
        image_sweeps("small", [2, 0], METHODS, {})
    with pytest.raises(vxlab.VxlabError, match="method='lorra' is unknown"):
        image_sweeps("small", [2], {"lorra": None}, {})


def test_the_smoke_images_are_written_once_and_are_the_same_everywhere() -> None:
    model, task = smoke_images()
    assert smoke_images() == (model, task)
    assert len(model_fingerprint(model)) == 64
    assert vxlab.load_task(task).label_names == ("amber", "jade", "plum")
