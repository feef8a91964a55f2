"""An image as the inventory writes it: where it comes from, and what its content has to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

from vmops.core.inventory import rules, tables
from vmops.core.inventory.complaints import Fault, InvalidValue, show
from vmops.core.inventory.rules import Rule


@dataclass(frozen=True, slots=True)
class Image:
    """What disks of VMs may stand on: a `file` on the operator's machine, or a `url` from which
    each worker fetches it.

    `sha256` is in lower case, None where it is to be made of the file. `format` is "qcow2" or
    "raw". Raises InvalidValue.
    """

    RULES: ClassVar[Mapping[str, Rule]] = rules.IMAGE

    name: str
    _: KW_ONLY
    file: str | None = None
    url: str | None = None
    sha256: str | None = None
    format: str = "qcow2"

    def __post_init__(self) -> None:
        tables.conform(self, self.RULES)
        faults = contradictions({key: getattr(self, key) for key in self.RULES})
        if faults:
            raise InvalidValue(tables.subject_of(self), faults)


def contradictions(values: Mapping[str, Any]) -> list[Fault]:
    """What is wrong with values of an image that are good each by itself."""
    file, url, sha256 = (values.get(key) for key in ("file", "url", "sha256"))
    if file is None and url is None:
        return [Fault((), "must have a file, or a url")]
    faults = []
    if file is not None and url is not None:
        faults.append(Fault(("url",), f"{show(url)}: must be left out, as there is a file"))
    if url is not None and sha256 is None:
        why = "the worker fetches it, and nothing else tells what it has to be"
        faults.append(Fault(("sha256",), f"missing: must be {rules.IMAGE['sha256'].text}: {why}"))
    return faults
