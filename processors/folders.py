"""The folder that belongs to a dataset."""

from __future__ import annotations

from urllib.parse import quote

__all__ = ["dataset_folder"]


def dataset_folder(dataset: str) -> str:
    """Name of the folder of a dataset: one path component, different for different datasets.

    Letters, digits and ``_ . - + = ~`` stay, every other byte of the name is percent-encoded, so
    ``urllib.parse.unquote`` gives the dataset back. A dot in front is encoded as well: the folder
    is neither hidden nor the parent folder. The empty name is ``%``.

    Example:
        >>> dataset_folder("TTTo2L2Nu_ext1"), dataset_folder("mass=172.5"), dataset_folder("/TT/x")
        ('TTTo2L2Nu_ext1', 'mass=172.5', '%2FTT%2Fx')
    """
    name = quote(dataset, safe="+=")
    if name.startswith("."):
        name = "%2E" + name[1:]
    return name or "%"
