"""Detector simulation as NanoEvents: EDM4hep branches by their own names."""

from __future__ import annotations

from typing import Any

from coffea.nanoevents import BaseSchema

__all__ = ["DetectorSchema"]


class DetectorSchema(BaseSchema):
    """Every branch of numbers is a field, such as ``HcalBarrelHits.position.x``.

    podio splits a collection into branches below one of its name, uproot calls them
    ``HcalBarrelHits/HcalBarrelHits.position.x``; files of other writers have them side by side.
    Both read alike. coffea's own EDM4hep schema needs the types that podio stores, all collections
    of a file, and one version of EDM4hep.
    """

    def __init__(self, base_form: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        names = [name.rpartition("/")[2] for name in base_form["fields"]]
        forms = dict(zip(names, base_form["contents"], strict=True))
        flat = base_form | {"fields": list(forms), "contents": list(forms.values())}
        super().__init__(flat, *args, **kwargs)
