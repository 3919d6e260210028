"""LoRA-XS as its released code saves it: peft's LoRA folder, with both bases whole and R beside them."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vxlab.adapters.interop.keys import MODEL, own_names, sort_tensors
from vxlab.adapters.interop.peft_files import CONFIG_FILE, WEIGHTS_FILE
from vxlab.adapters.interop.saved import SavedAdapter
from vxlab.checks import quote
from vxlab.errors import VxlabError

RECONSTRUCTION_FILE = "reconstr_config.json"
"""How the bases were made; in the run's folder, which is the adapter's or the one around it."""
_LATENT = (".default_lora_latent_mapping.weight", "_lora_latent_mapping.weight")
"""Behind a layer's name in the key of its R: as newer and as older versions of peft leave it."""
_BASES = {"left_basis": "lora_B.weight", "right_basis": "lora_A.weight"}


def is_lora_xs(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bool:
    """Tell a folder of the released LoRA-XS code from one of peft's LoRA, whose config is the same.

    One that should have R and lost it is LoRA-XS's too, so that reading it says so: as a LoRA it would add W's own
    top triplets to W.
    """
    if config.get("peft_type") != "LORA":
        return False
    return any(key.endswith(_LATENT) for key in tensors) or bool(read_reconstruction(folder).get("r_squared"))


def read_lora_xs(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> SavedAdapter:
    """Return a LoRA-XS of the released code, on the bases that the folder holds.

    ``lora_A`` is ΣVᵀ and ``lora_B`` is U, of a randomised SVD; the update is (α/r)·U·R·ΣVᵀ, as with Σ on the input
    side here. :func:`vxlab.adapters.interop.known_bases` tells whether they are the exact ones of a model.

    Raises:
        VxlabError: a layer lacks R, A or B, they do not fit each other or the config, the file holds several adapters
            or both forms of R's key, or the config asks for what the released code does not do.
    """
    _refuse_other_settings(folder, config)
    whole, latent = _apart(folder, tensors)
    layers, shared, others, _ = sort_tensors(whole, own_names("LORA"))
    if foreign := [*shared, *(name for name in others if ".lora_" in name)]:
        raise VxlabError(
            f"{folder / WEIGHTS_FILE} has {quote(min(foreign))}, which is of no LoRA-XS, or of another adapter beside "
            "it; save one alone, with peft's save_pretrained(folder, selected_adapters=['default'])"
        )
    _refuse_partial(folder, layers, latent)
    rank = config["r"]
    _check_run(folder, rank)
    for layer, own in layers.items():
        _check_shapes(folder, layer, own, latent[layer], rank)
    return SavedAdapter(
        folder=folder,
        kind="lora-xs",
        method="lora_xs",
        settings={"rank": rank, "alpha": _alpha(config, rank), "basis": "given"},
        layers=tuple(layers),
        tensors={layer: {"R": latent[layer]} for layer in layers},
        frozen={layer: {name: own[key] for name, key in _BASES.items()} for layer, own in layers.items()},
        others=others,
        stored={key: each for key, each in tensors.items() if key.removeprefix(MODEL) not in others},
        base=config.get("base_model_name_or_path"),
        config=config,
    )


def read_reconstruction(folder: Path) -> dict[str, Any]:
    """Return what the run says of how its bases were made; nothing where no such file is there.

    Raises:
        VxlabError: the file is damaged.
    """
    for path in (folder / RECONSTRUCTION_FILE, folder.absolute().parent / RECONSTRUCTION_FILE):
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RecursionError) as error:
            raise VxlabError(f"{path} cannot be read ({error}); get the run's folder again, or delete it") from error
        if not isinstance(told, dict):
            raise VxlabError(f"{path} is damaged: {quote(told)} is no mapping; get the run's folder again")
        return told
    return {}


def drew_bases(folder: Path) -> bool:
    """Say whether a run drew its bases at random, or half of one, as its file says."""
    told = read_reconstruction(folder)
    return bool(told.get("replacement_module_random_init") or told.get("half_init_dec"))


def _refuse_other_settings(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse what the released forward pass leaves out, though the config asks for it."""
    for name, usual in (("use_dora", False), ("rank_pattern", {}), ("alpha_pattern", {}), ("lora_bias", False),
                        ("bias", "none")):  # fmt: skip
        if config.get(name) and config[name] != usual:
            raise VxlabError(
                f"{folder / CONFIG_FILE} has {name}={quote(config[name])}, which LoRA-XS's released code does not "
                "know, so what it computed is not known; save the adapter without it"
            )


def _apart(folder: Path, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return all tensors but R's, and every layer's R by its dotted name in the base model."""
    whole, latent, forms = {}, {}, set()
    for key, tensor in tensors.items():
        form = next((form for form in _LATENT if key.endswith(form)), None)
        if form is None:
            whole[key] = tensor
            continue
        forms.add(form)
        latent[key.removesuffix(form).removeprefix(MODEL)] = tensor
    if len(forms) > 1:
        raise VxlabError(
            f"{folder / WEIGHTS_FILE} has R under both forms of its key (`P_lora_latent_mapping.weight` and "
            "`P.default_lora_latent_mapping.weight`): two files in one, whose R are not told apart; get one of them"
        )
    return whole, latent


def _refuse_partial(folder: Path, layers: Mapping[str, Mapping[str, Tensor]], latent: Mapping[str, Tensor]) -> None:
    """Refuse a layer that lacks A, B or R or has more, and a file without any."""
    path = folder / WEIGHTS_FILE
    if layers and not latent:
        raise VxlabError(
            f"{path} lacks R (lora_latent_mapping.weight) in every layer, and {RECONSTRUCTION_FILE} there or around it "
            "says that one was trained: loading that is not strict loses it silently, and without it the update is not "
            f"known; get the whole folder, or, if this is a plain LoRA, move it away from {RECONSTRUCTION_FILE}"
        )
    for layer in sorted(layers.keys() | latent.keys()):
        own = layers.get(layer, {})
        lacking = [*({*_BASES.values()} - own.keys()), *([] if layer in latent else ["R (lora_latent_mapping.weight)"])]
        if surplus := sorted(own.keys() - {*_BASES.values()}):
            raise VxlabError(f"{path}: `{layer}` has {', '.join(surplus)}, which is of no LoRA-XS")
        if lacking:
            why = "; loading that is not strict loses it silently, and without it the update is not known"
            raise VxlabError(
                f"{path}: `{layer}` lacks {' and '.join(sorted(lacking))}"
                f"{why if layer not in latent else ''}; get the whole folder"
            )
    if not layers:
        raise VxlabError(f"{path} adapts no layer; get the whole folder")


def _check_run(folder: Path, rank: int) -> None:
    """Refuse a config beside the file of another run."""
    told = read_reconstruction(folder)
    own = told.get(str(told.get("reconstruction_type")), {})
    made = own.get("rank", rank) if isinstance(own, dict) else rank
    if made != rank:
        raise VxlabError(
            f"{folder}: {CONFIG_FILE} says rank {rank} and {RECONSTRUCTION_FILE} {quote(made)}: they are of two runs; "
            "get the files that belong together"
        )


def _check_shapes(folder: Path, layer: str, own: Mapping[str, Tensor], R: Tensor, rank: int) -> None:
    A, B = own["lora_A.weight"], own["lora_B.weight"]
    found = [tuple(each.shape) for each in (A, B, R)]
    if any(each.ndim != 2 or not each.is_floating_point() for each in (A, B, R)) or found != [
        (rank, A.shape[1]), (B.shape[0], rank), (rank, rank)
    ]:  # fmt: skip
        raise VxlabError(
            f"{folder / WEIGHTS_FILE}: A, B and R of `{layer}` are {', '.join(map(str, found))}, and rank {rank} in "
            f"{CONFIG_FILE} takes real ({rank}, in), (out, {rank}) and ({rank}, {rank}); get the files that belong "
            "together"
        )


def _alpha(config: Mapping[str, Any], rank: int) -> float:
    """Return the α at which α/r is the factor that the released code multiplies by."""
    alpha = float(config.get("lora_alpha", 8))
    return alpha * math.sqrt(rank) if config.get("use_rslora") else alpha
