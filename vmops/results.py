"""What the values of the Python API have in common: an error each, and one way to raise them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, TypeVar, overload

from vmops.errors import FleetFailed, VmopsError


class Result(Protocol):
    """What every method of `Fleet` gives for a VM or a worker."""

    @property
    def error(self) -> VmopsError | None:
        """Why it failed, None where all went well."""


R = TypeVar("R", bound=Result)


@overload
def raise_for_errors(results: R) -> R: ...
@overload
def raise_for_errors(results: Iterable[R]) -> list[R]: ...
def raise_for_errors(results: object) -> object:
    """Give the results back when all went well. Raises the error of the one that failed, and
    FleetFailed with all of them in `failures` when several did."""
    is_one = hasattr(results, "error")
    found: list[Any] = [results] if is_one else list(results)  # type: ignore[call-overload]
    failures = [result.error for result in found if result.error is not None]
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise FleetFailed(failures)
    return results if is_one else found
