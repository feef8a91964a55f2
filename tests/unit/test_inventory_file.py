"""hosts.toml on disk: what can be wrong with the file itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmops.errors import InventoryError
from vmops.inventory_file import load


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param(None, "there is no such file", id="no-file"),
        pytest.param(b"# a\n\n# \xe4\n", "line 3 is not UTF-8: byte 0xe4", id="latin-1"),
        pytest.param(b"x", "this is not TOML: Expected '='", id="not-toml"),
        pytest.param(b"[default]", "default: is no section", id="fault"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    path = tmp_path / "hosts.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InventoryError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: {complaint}")


def test_a_directory_is_no_inventory(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "hosts.toml"
    path.write_bytes(b"\xef\xbb\xbf" + b'[workers.w1]\r\naddress = "10.0.0.1"\r\n')
    assert list(load(path).workers) == ["w1"]


def test_a_path_may_be_a_string(tmp_path: Path) -> None:
    path = tmp_path / "hosts.toml"
    path.write_text('[workers.w1]\naddress = "192.0.2.1"\n')
    assert load(str(path)) == load(path)
