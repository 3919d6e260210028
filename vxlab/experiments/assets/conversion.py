"""Write a model's folder from a file in another format."""

from importlib.util import find_spec
from pathlib import Path

from vxlab.errors import VxlabError
from vxlab.experiments.assets.manifest import Asset


def refuse_lack_of_reader(asset: Asset) -> None:
    """Refuse an asset whose original cannot be read here, before a download that could not be used.

    Raises VxlabError where the package that reads the format, which has the format's name, is not installed.
    """
    if asset.original and find_spec(asset.original.format) is None:
        raise VxlabError(
            f"{asset.name} is made from the file {asset.original.path}, and the package {asset.original.format}, which "
            "reads it, is not installed: pip install 'vxlab[experiments]'"
        )


def convert(asset: Asset, original: Path, folder: Path) -> None:
    """Write the files of an asset into a folder that exists.

    asset: one that states its ``original``.
    original: that file, unpacked.

    Raises VxlabError where the file does not hold what it must, OSError where the disk refuses.
    """
    if asset.original and asset.original.format == "onnx":
        from vxlab.experiments.assets.onnx_model import convert_onnx

        convert_onnx(original, folder)
    else:
        from vxlab.experiments.assets.gguf_model import convert_gguf

        convert_gguf(original, folder, f"{asset.name}: de-quantise to bfloat16")
