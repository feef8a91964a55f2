"""[images.NAME] of hosts.toml: where an image comes from and what it has to be."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from textwrap import dedent

import pytest

from vmops.core.inventory.complaints import InvalidValue
from vmops.core.inventory.image import Image
from vmops.core.inventory.inventory import Inventory, parse
from vmops.errors import InventoryError
from vmops.inventory_file import load

from .test_inventory import ROOT, complaints

SUM = "0123456789abcdef" * 4


def read(text: str) -> Inventory:
    return parse(dedent(text), source="hosts.toml")


IMAGES = read(f"""
    [images.debian-12]
    file = "images/debian-12.qcow2"
    [images.debian-13]
    file = "/srv/debian-13.raw"
    format = "raw"
    sha256 = "{SUM.upper()}"
    [images.vyos]
    url = "https://192.0.2.7/vyos.qcow2?v=1"
    sha256 = "{SUM}"
    """)


def test_an_image_is_a_file_here_or_an_address() -> None:
    assert IMAGES.images == {
        "debian-12": Image("debian-12", file="images/debian-12.qcow2"),
        "debian-13": Image("debian-13", file="/srv/debian-13.raw", format="raw", sha256=SUM),
        "vyos": Image("vyos", url="https://192.0.2.7/vyos.qcow2?v=1", sha256=SUM),
    }
    assert IMAGES.images["debian-12"].format == "qcow2"
    assert IMAGES.images["debian-12"].sha256 is None


def test_the_sum_is_kept_in_the_letters_that_tools_print() -> None:
    assert IMAGES.images["debian-13"].sha256 == SUM


def test_a_relative_file_is_taken_from_the_folder_of_hosts_toml(tmp_path: Path) -> None:
    path = tmp_path / "hosts.toml"
    path.write_text(
        '[images.a]\nfile = "../a.qcow2"\n[images.b]\nfile = "/b"\n[images.c]\nfile = "~/c"\n'
    )
    files = {name: image.file for name, image in load(path).images.items()}
    assert files == {"a": str(tmp_path.parent / "a.qcow2"), "b": "/b", "c": "~/c"}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", "images.a: must have a file, or a url"),
        (f'sha256 = "{SUM}"', "images.a: must have a file, or a url"),
        (
            f'file = "a"\nurl = "https://h/a"\nsha256 = "{SUM}"',
            "images.a.url: 'https://h/a': must be left out, as there is a file",
        ),
        (
            'url = "https://h/a"',
            "images.a.sha256: missing: must be 64 hexadecimal digits, as sha256sum prints them: the"
            " worker fetches it, and nothing else tells what it has to be",
        ),
        ('fil = "a"', "images.a.fil: 'a': is not a key here; did you mean \"file\"?"),
        ('file = "a/"', "images.a.file: 'a/': must be the path of a file here"),
        ('file = ""', "images.a.file: '': must be the path of a file here"),
        ('file = "a"\nformat = "vmdk"', "images.a.format: 'vmdk': must be one of"),
        ('file = "a"\nsha256 = "abc"', "images.a.sha256: 'abc': must be 64 hexadecimal digits"),
        ('url = "file:///etc/shadow"', "images.a.url: 'file:///etc/shadow': must be an address"),
        ('url = "https:///x"', "images.a.url: 'https:///x': must be an address"),
        ('url = "https://u:p@h/x"', "images.a.url: 'https://u:p@h/x': must be an address"),
        ('url = "https://h/a b"', "images.a.url: 'https://h/a b': must be an address"),
        ('url = "https://h/\\n-o x"', "images.a.url: 'https://h/\\n-o x': must be an address"),
        ('url = "-o x"', "images.a.url: '-o x': must be an address"),
    ],
)
def test_what_is_wrong_is_told_with_its_rule(table: str, said: str) -> None:
    assert [one for one in complaints(f"[images.a]\n{table}") if f"hosts.toml: {said}" in one]


def test_a_name_that_is_no_file_name_is_refused() -> None:
    (said,) = complaints('[images."a/b"]\nfile = "a"')
    assert said.startswith("hosts.toml: images.'a/b': the name must be 1 to 63 letters")


def test_an_image_cannot_be_built_wrong() -> None:
    with pytest.raises(InvalidValue, match="Image 'a': must have a file, or a url"):
        Image("a")
    with pytest.raises(InvalidValue, match="sha256"):
        Image("a", file="/a", sha256="x")


def test_images_are_found_by_name_by_glob_and_several() -> None:
    def names(pattern: str) -> list[str]:
        return [image.name for image in IMAGES.select_images(pattern)]

    assert names("vyos") == ["vyos"]
    assert names("vyos, debian-*") == ["debian-12", "debian-13", "vyos"]
    with pytest.raises(InventoryError, match=r"there is no image 'vyo'; did you mean \"vyos\"\?"):
        names("vyo")
    with pytest.raises(InventoryError, match=r"no image matches 'x\*'"):
        names("x*")


def test_an_inventory_with_images_is_pickled_and_copied() -> None:
    assert pickle.loads(pickle.dumps(IMAGES)) == IMAGES
    assert copy.deepcopy(IMAGES).images == IMAGES.images
    with pytest.raises(TypeError):
        IMAGES.images["a"] = Image("a", file="/a")  # type: ignore[index]


def test_the_example_in_the_reference_is_valid() -> None:
    reference = (ROOT / "docs" / "inventory.md").read_text(encoding="utf-8")
    example = reference.split("## `[images.NAME]`")[1].split("```toml")[1].split("```")[0]
    assert list(read(example).images) == ["debian-12"]
