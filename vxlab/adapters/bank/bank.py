"""A bank of adapters: made on a base, filled, read and tidied."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from torch import Tensor, nn

from vxlab.adapters import Method
from vxlab.adapters.bank.adding import ready_chunks
from vxlab.adapters.bank.base import check_base
from vxlab.adapters.bank.description import BANK_FILE, describe_bank, read_description, write_description
from vxlab.adapters.bank.index import make_index
from vxlab.adapters.bank.layout import RowLayout
from vxlab.adapters.bank.putting import put_on_model
from vxlab.adapters.bank.serving import Serving
from vxlab.adapters.bank.shards import sync_folder
from vxlab.adapters.bank.sources import Adapter, read_row
from vxlab.adapters.bank.storage import RowStore
from vxlab.adapters.core import Shape
from vxlab.checks import quote, settle, settle_list
from vxlab.errors import VxlabError
from vxlab.files import write_folder_whole
from vxlab.words import first_line

Model = TypeVar("Model", bound=nn.Module)


class AdapterBank:
    """A folder that holds very many adapters of one method on one base, each a row of numbers under a name.

    Rows lie in safetensors files of one tensor ``(rows, P)`` each; an SQLite file says which row is whose, with the
    sha256 of its bytes. What is frozen is not stored: a seed or the base's weights make it, and fingerprints tell
    whether these are the bank's. One process at a time writes, and any number read meanwhile. What was added is on the
    disk when the call returns. Make one by :meth:`create` or :meth:`open`; :meth:`close` it, or use it as a context.

    >>> import tempfile, torch
    >>> from vxlab import LoRA
    >>> folder, base = tempfile.TemporaryDirectory(), torch.nn.Sequential(torch.nn.Linear(4, 3))
    >>> with AdapterBank.create(f"{folder.name}/bank", base, LoRA(rank=1), targets="0") as bank:
    ...     bank.add_many(["ann", "ben"], torch.ones(2, bank.layout.width))
    ...     list(bank), {name: tuple(each.shape) for name, each in bank.get("ben").items()}
    (['ann', 'ben'], {'0.A': (1, 4), '0.B': (3, 1)})
    >>> folder.cleanup()
    """

    def __init__(self, folder: Path, writable: bool, base: nn.Module | None) -> None:
        self.folder, self._base = folder, base
        self._serving: Serving | None = None
        self._description = read_description(folder)
        if base is not None:
            self.require_base(base)
        self._store = RowStore(folder, self.layout, self._description.key, writable)

    @classmethod
    def create(
        cls,
        folder: str | os.PathLike[str],
        model: nn.Module,
        method: Method,
        targets: str | Sequence[str] = "query-value",
        dtype: str = "float32",
    ) -> Self:
        """Make an empty bank in a new folder, and return it open for writing.

        Args:
            folder: one that is not there, or empty.
            model: the base, bare, with the task head that the adapters have; it is left as it is.
            method: of all adapters, in all its settings. ``Head()`` makes a bank of heads alone.
            targets: as for :func:`vxlab.attach`.
            dtype: ``float32`` keeps every bit of adapters that trained in it; ``bfloat16`` rounds them, to half the
                bytes.

        Raises:
            VxlabError: the folder has something in it or cannot be written; the method cannot be attached, or stores
                bases of its own with every adapter.
        """
        folder = Path(settle("folder", folder, str))
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            there = "holds a bank already; open it" if (folder / BANK_FILE).exists() else "is there, and not empty"
            raise VxlabError(f"a bank cannot be made in {folder}: it {there}, or give another folder")
        description = describe_bank(model, method, targets, dtype)
        try:
            with write_folder_whole(folder) as new:
                write_description(new, description)
                make_index(new)
                sync_folder(new)
            sync_folder(folder.parent)
        except OSError as error:
            raise VxlabError(f"a bank cannot be made in {folder}: {first_line(error)}; give another folder") from error
        return cls(folder, True, model)

    @classmethod
    def open(cls, folder: str | os.PathLike[str], writable: bool = False, model: nn.Module | None = None) -> Self:
        """Open a bank.

        Args:
            folder: that :meth:`create` made.
            writable: to add and remove adapters; one at a time has it open so.
            model: its base, which adapters from other libraries' folders take to be read. Without it, what is used
                with the bank is compared then.

        Raises:
            VxlabError: there is no bank, a file of it is missing, damaged or truncated, another writes to it, or the
                model is another base.
        """
        return cls(Path(settle("folder", folder, str)), settle("writable", writable, bool), model)

    @property
    def method(self) -> Method:
        """The method of all its adapters."""
        return self._description.method

    @property
    def layers(self) -> dict[str, Shape]:
        """(out, in) of the adapted layers by dotted name, in the model's order."""
        return dict(self._description.layers)

    @property
    def layout(self) -> RowLayout:
        """Which numbers of a row are which tensor's."""
        return self._description.layout

    def require_base(self, model: nn.Module) -> None:
        """Raise unless a model, bare or with adapters, is the bank's base."""
        check_base(self._description, model, f"the bank in {self.folder}")

    def add(self, name: str, adapter: Adapter) -> None:
        """Add an adapter; it is on the disk when this returns.

        Args:
            name: new to the bank.
            adapter: a model with it on; a folder, of this project, of the peft library or of LoRA-XS's released code;
                or tensors by the names that they have on a model. Folders of others take the bank's base
                (:meth:`open`).

        Raises:
            VxlabError: the name is taken or no text of one line; the adapter is of another base, method, setting or
                layers, or holds NaN or infinite values; or the disk is full. The bank is then as it was.
        """
        self.add_many([name], [adapter])

    def add_many(self, names: Iterable[str], adapters: Tensor | Iterable[Adapter]) -> None:
        """Add many adapters, all of them or none; they are on the disk when this returns.

        Args:
            names: one for each.
            adapters: rows ``(n, P)`` as :attr:`layout` has them, or adapters as :meth:`add` takes them, which are read
                one after another.

        Raises:
            VxlabError: as :meth:`add`, or there are not as many names as adapters.
        """
        self._store.require_writable()
        names = settle_list("names", names, str, "a list of names, one for each adapter")

        def read(name: str, adapter: Adapter) -> Tensor:
            return read_row(adapter, self._description, self._base, name, f"the bank in {self.folder}")

        self._store.append(names, ready_chunks(names, adapters, self.layout, read))

    def get(self, name: str) -> dict[str, Tensor]:
        """Return an adapter's tensors, by the names that they have on a model, in the bank's precision.

        Raises:
            VxlabError: there is none of this name, or its bytes are not those that were added.
        """
        return self.layout.unpack(self._store.read_checked(settle("name", name, str)))

    def rows_of(self, names: Sequence[str]) -> Tensor:
        """Return rows ``(n, P)``, one for each name, in their order, on the CPU, without asking after their sha256.

        Raises:
            VxlabError: there is none of a name; the nearest is named.
        """
        names = settle_list("names", names, str, "a list of names")
        return self._store.read(names)[1]

    def load(self, model: Model, name: str) -> Model:
        """Put an adapter on the bank's base as :func:`vxlab.attach` would: to evaluate, merge, save or export it.

        Args:
            model: the base, bare or with the bank's method on the same layers; changed in place.
            name: of the adapter.

        Raises:
            VxlabError: there is none of this name, its bytes are not those that were added, or the model is another
                base. The model is then as it was.
        """
        tensors = self.get(name)
        self.require_base(model)
        put_on_model(model, self._description, tensors, f"the bank in {self.folder}")
        return model

    def attach(self, model: Model, slots: int | None = None) -> Model:
        """Serve the bank's adapters on its base, all at once: :meth:`rows` says whose each row of a batch is.

        For inference: all of the model is frozen until :meth:`detach`, and dropout of adapters has no part. Nothing is
        merged, and a batch of any adapters costs what one of a single adapter does that is not.

        Args:
            model: the base, bare; changed in place.
            slots: how many adapters to keep on the model's device, those asked for last. By default as many as half of
                its free memory holds, at most as many as there are; on a CPU none, for the files are memory there.

        Raises:
            VxlabError: the bank is attached already, the model has an adapter or is another base, its frozen tensors do
                not reproduce here, or its task head is more than linear layers. The model is then as it was.
        """
        self._store.require_open()
        if self._serving is not None:
            raise VxlabError(f"the bank in {self.folder} is attached to a model already; call detach() first")
        if slots is not None and (isinstance(slots, bool) or not isinstance(slots, int) or slots < 0):
            raise VxlabError(f"slots={quote(slots)} is no number of adapters; give 0 or more, or None")
        whose = f"the bank in {self.folder}"
        self._serving = Serving(model, self._description, self._store.find, self._store.read, slots, len(self), whose)
        return model

    @contextlib.contextmanager
    def rows(self, names: Sequence[str | None]) -> Iterator[nn.Module]:
        """Say of every row of the batches in this context whose adapter it meets; yield the model.

        It holds in this thread, or asynchronous task, alone: others may have other rows on the same model meanwhile.

        Within the model's ``generate`` a row's beams and answers meet the row's adapter.

        Args:
            names: one for each row of the batch, as often as it comes; None for a row without an adapter, which has the
                model's own head.

        Raises:
            VxlabError: the bank is not attached, or has no adapter of a name (the nearest is named); in the model's
                forward pass, a batch has more rows or fewer.
        """
        with self._require_serving().rows(names) as model:
            yield model

    def detach(self) -> nn.Module:
        """Put the model that :meth:`attach` was given back as it was, and return it.

        Raises:
            VxlabError: the bank is not attached.
        """
        model = self._require_serving().remove()
        self._serving = None
        return model

    def remove(self, name: str) -> None:
        """Remove an adapter. Its row stays on the disk until :meth:`compact`; its name is free at once.

        Raises:
            VxlabError: there is none of this name.
        """
        self._store.remove(settle("name", name, str))

    def compact(self) -> int:
        """Rewrite the shards that hold removed adapters without them, and return how many rows went.

        The disk needs room for what stays of these shards. Cut short at any moment, the bank holds the same.

        Raises:
            VxlabError: the disk is full.
        """
        return self._store.compact()

    def verify(self) -> int:
        """Compare every row with the sha256 of what was added, and return how many there are.

        Raises:
            VxlabError: rows are others, which it names, or a file is damaged, missing or truncated.
        """
        return self._store.verify()

    def close(self) -> None:
        """Let go of the files; a bank that is no longer used does so by itself."""
        self._store.close()

    def __len__(self) -> int:
        return len(self._store)

    def __iter__(self) -> Iterator[str]:
        """Yield all names in their order."""
        return self._store.names()

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._store.holds(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"AdapterBank({str(self.folder)!r}, {self.method})"

    def _require_serving(self) -> Serving:
        if self._serving is None:
            raise VxlabError(f"the bank in {self.folder} is on no model; call bank.attach(model) first")
        return self._serving
