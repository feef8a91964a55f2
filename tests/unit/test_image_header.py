"""The beginning of an image: what no disk should stand on is refused before it is sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmops.core.images.header import objection
from vmops.core.inventory.image import Image
from vmops.errors import InventoryError
from vmops.ops.image.local import base_of
from vmops.remote.image import image_file


@given(
    st.binary(max_size=200) | st.binary(max_size=200).map(lambda rest: b"QFI\xfb\0\0\0\3" + rest)
)
def test_any_beginning_is_read_or_none(head: bytes) -> None:
    for format in ("qcow2", "raw"):
        objection(head, format)


@pytest.mark.parametrize(
    ("content", "format", "said"),
    [
        (b"", "qcow2", "is not a qcow2 image"),
        (b"\xeb\x63" + bytes(510), "qcow2", "is not a qcow2 image"),
        (b"QFI\xfb\0\0\0\3" + bytes(100), "raw", "hosts.toml calls it raw"),
        (
            b"QFI\xfb\0\0\0\3" + b"\0\0\0\0\0\0\1\0" + bytes(100),
            "qcow2",
            "without its backing file",
        ),
    ],
)
def test_what_is_no_base_is_refused_by_name_with_the_cure(
    tmp_path: Path, content: bytes, format: str, said: str
) -> None:
    path = tmp_path / "image"
    path.write_bytes(content)
    with pytest.raises(InventoryError, match=f"images.debian: .*{said}") as raised:
        base_of(Image("debian", file=str(path), format=format))
    assert raised.value.cure


def test_a_file_that_is_not_there_or_another_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="cannot be read: No such file"):
        base_of(Image("a", file=str(tmp_path / "none"), format="raw"))
    with pytest.raises(InventoryError, match="cannot be read: it is no plain file"):
        base_of(Image("a", file=str(tmp_path), format="raw"))
    (tmp_path / "a").write_bytes(b"a")
    with pytest.raises(
        InventoryError, match="is another one than its sha256 says: it has ca978112"
    ):
        base_of(Image("a", file=str(tmp_path / "a"), format="raw", sha256="0" * 64))


def test_the_sum_is_made_once_for_a_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And anew as soon as the file is another one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("vmops.ops.image.sums._SETTLED_NS", 0)
    made_of: list[str] = []
    digest = image_file.ImageFile.digest

    def counted(self: image_file.ImageFile) -> str:
        made_of.append("once")
        return digest(self)

    monkeypatch.setattr(image_file.ImageFile, "digest", counted)
    path = tmp_path / "a"
    path.write_bytes(b"a" * 10_000)
    image = Image("a", file=str(path), format="raw")
    first = base_of(image)
    assert (base_of(image), len(made_of)) == (first, 1)
    path.write_bytes(b"b" * 10_000)
    assert (base_of(image) != first, len(made_of)) == (True, 2)
    (tmp_path / "cache/vmops/images.json").write_text("rubbish")
    assert (base_of(image).name.endswith(".raw"), len(made_of)) == (True, 3)


def test_what_was_just_changed_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "a"
    path.write_bytes(b"a")
    base_of(Image("a", file=str(path), format="raw"))
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a"))
    monkeypatch.setattr("vmops.ops.image.sums._SETTLED_NS", 0)
    path = tmp_path / "a"
    path.write_bytes(b"a")
    assert base_of(Image("a", file=str(path), format="raw")).format == "raw"
