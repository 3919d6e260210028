"""Tables that took long to compute, kept beside the store's runs."""

import dataclasses
import hashlib
import importlib.metadata
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor, nn

import vxlab
from vxlab.adapters.core import code_version
from vxlab.checks import quote
from vxlab.errors import VxlabError
from vxlab.experiments import RunSpec, library_versions
from vxlab.experiments.store.store import Where, open_store
from vxlab.files import write_whole
from vxlab.spectra import entry_key

if TYPE_CHECKING:
    import pandas as pd

Tables = TypeVar("Tables")

_PACKAGE = Path(vxlab.__file__).parent
_WITHOUT_NUMBERS = ("cli", "views")
"""The packages of vxlab that draw and tell, which no module below imports."""


def kept_table(compute: Callable[..., Tables], *args: Any, store: Where = None, **kwargs: Any) -> Tables:
    """Return ``compute(*args, **kwargs)``: what is kept of it, or else computed now and kept from then on.

    Tables lie in ``tables/`` beside the runs' folders as Parquet, each under the function's name and the hash of all
    that decides its numbers: the function, its arguments with the defaults in force (of a record all that it holds,
    of a model its weights), the versions of the libraries, and the code. Of vxlab's code every line counts that is not
    of the command line or of views, also a comment: which of it a table depends on, only running it would tell. Where
    vxlab's files were changed since this process started, what runs here is no longer what they say, and nothing is
    read or kept. Of a function of your own all counts that it reaches by name. A file that cannot be read is computed
    anew; the folder may be deleted at any time.

    Args:
        compute: returns a table, or a named tuple of tables, and says in its annotation which. Columns hold numbers,
            booleans or text. A function with a name and no enclosing one: what it works on are its arguments.
        args: numbers, texts, tensors, models, records and jobs of runs, methods, and containers of these.
        store: as :func:`vxlab.run` takes it; not passed on.
        kwargs: as ``args``.

    Raises:
        VxlabError: the function is a lambda or encloses values, or an argument has no content that a hash could hold.
        TypeError: the function does not take these arguments.
        OSError: the folder cannot be written.

    >>> import pandas as pd, tempfile
    >>> def squares(of: list[int]) -> pd.DataFrame:
    ...     return pd.DataFrame({"x": of, "y": [x**2 for x in of]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for _ in range(2):
    ...         table = kept_table(squares, [2], store=folder)
    >>> table["y"].tolist()
    [4]
    """
    if _source_hash() != _STARTED_WITH:
        return compute(*args, **kwargs)
    name, annotation = _name(compute), inspect.signature(compute).return_annotation
    parts = [f"-{field}" for field in getattr(annotation, "_fields", ())]
    with open_store(store) as results:
        start = results.folder / "tables" / name
    digest = _digest(compute, inspect.signature(compute).bind(*args, **kwargs))
    paths = [start.with_name(f"{name}{part}-{digest[:16]}.parquet") for part in parts or [""]]
    found = [_read(path) for path in paths]
    if any(table is None for table in found):
        made: Any = compute(*args, **kwargs)
        found = [_keep(table, path) for table, path in zip(made if parts else [made], paths, strict=True)]
    return annotation(*found) if parts else found[0]  # type: ignore[return-value]


def _name(compute: Callable[..., Any]) -> str:
    """Return what the function's tables are called, or refuse one that works on more than its arguments."""
    inner = inspect.unwrap(compute)
    if not inspect.isfunction(inner) or inner.__closure__ or not inner.__name__.isidentifier():
        raise VxlabError(
            f"compute={quote(compute)} must be a function with a name that encloses no values of another; define it "
            "with def at the top of a module or cell, and give it what it works on as arguments"
        )
    return re.sub("_+", "-", inner.__name__.strip("_"))


def _digest(compute: Callable[..., Any], bound: inspect.BoundArguments) -> str:
    bound.apply_defaults()
    versions = {library: version for library, version in library_versions().items() if library != "commit"}
    identity = {
        "function": [compute.__module__, compute.__qualname__, code_version(compute)],
        "arguments": {name: _content(value, name) for name, value in bound.arguments.items()},
        "versions": versions | {"scipy": importlib.metadata.version("scipy")},
        "vxlab": _STARTED_WITH,
    }
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def _content(value: Any, name: str) -> Any:
    """Return all that an argument stands for as JSON values that no other argument has."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        return ["tensor", entry_key(value, "argument")]
    if isinstance(value, nn.Module):
        config = getattr(value, "config", None)
        weights = {key: entry_key(tensor, "argument") for key, tensor in value.state_dict().items()}
        return ["model", repr(value), value.training, str(config), weights]
    if isinstance(value, Mapping):
        return ["mapping", [[_content(key, name), _content(item, name)] for key, item in value.items()]]
    if isinstance(value, Sequence):
        return ["sequence", [_content(item, name) for item in value]]
    about = [type(value).__module__, type(value).__qualname__, code_version(type(value))]
    if isinstance(digest := getattr(value, "digest", None), str):
        return [*about, digest]
    if dataclasses.is_dataclass(value) and not isinstance(value, type | RunSpec):
        return [*about, {each.name: _content(getattr(value, each.name), name) for each in dataclasses.fields(value)}]
    advice = "its names stand for files that may change; give its job, from Materials().job(spec)"
    others = "give numbers, texts, tensors, models, records or jobs of runs, methods, or containers of these"
    raise VxlabError(
        f"{name}={quote(value)} cannot be told from another with the same name: "
        f"{advice if isinstance(value, RunSpec) else others}"
    )


def _source_hash() -> str:
    """Return the sha256 of vxlab's files as they lie there now, but for those that no number depends on."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        place = path.relative_to(_PACKAGE)
        if place.parts[0] not in _WITHOUT_NUMBERS:
            digest.update(f"{place.as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


_STARTED_WITH = _source_hash()
"""of the files from which this process's modules come, as near as can be had"""


def _read(path: Path) -> "pd.DataFrame | None":
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except (OSError, ValueError):  # absent, or not whole
        return None


def _keep(table: "pd.DataFrame", path: Path) -> "pd.DataFrame":
    import pandas as pd

    with write_whole(path) as new:
        table.to_parquet(new, index=False)
    return pd.read_parquet(path)  # the same now as the next time
