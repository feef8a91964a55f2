"""What `cp` says of two paths of which not just one is in a guest."""

from __future__ import annotations

import pytest

from vmops.errors import InventoryError
from vmops.ops.guest.files import sides


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("a:/x", "b:/y", "a:/x and b:/y are both in guests, and one has to be here"),
        ("x", "y", "x and y are both here, and one has to be in a guest"),
        ("x", "a,b:/y", "a,b:/y: 'a,b' is not one VM's name"),
        ("x", "web*:/y", "web*:/y: 'web*' is not one VM's name"),
        ("a, b:/x", "y", "a, b:/x: 'a, b' is not one VM's name"),
        ("x", ":/y", ":/y: it names no VM"),
        ("./a:/x", "y", "./a:/x and y are both here"),
    ],
)
def test_what_is_wrong_is_said(source: str, target: str, said: str) -> None:
    with pytest.raises(InventoryError) as error:
        sides(source, target)
    assert str(error.value).startswith(f"cp: {said}")
    assert error.value.cure.startswith("fab cp ")
