"""Chains and headers mean to the worker what they mean to the real QEMU."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmops.core.tools import image_chain

from .chains import QEMU, call, folder, image, info, is_sound, overlay, read, running

__all__ = ["folder"]


@pytest.mark.parametrize("held", ["written", "backing"])
def test_an_image_that_a_qemu_has_open_is_told_with_its_holder(folder: Path, held: str) -> None:
    base = image(folder / "base.qcow2")
    top = overlay(folder / "top.qcow2", base.name)
    over = overlay(folder / "over.qcow2", top.name)
    opened = top if held == "written" else over
    assert image_chain.in_use(read(top)) == ()
    with running(opened) as pid:
        (used,) = image_chain.uses(read(top))
        way = "written to" if held == "written" else "in use, perhaps as a backing file,"
        assert used.what == f"{top} is {way} by PID {pid}"
        assert call("image_holders", str(top)) == f"{pid}\n"
        assert starts(top) is False
        assert [entry.path for entry in image_chain.in_use(read(base))] == [str(base)]
        sibling = overlay(folder / "sibling.qcow2", base.name)
        assert image_chain.in_use(read(sibling)) == ()
        assert starts(sibling) is True
        atop = overlay(folder / "atop.qcow2", top.name)
        is_free = held == "backing"
        assert (image_chain.in_use(read(atop)) == ()) is is_free
        assert starts(atop) is is_free
    assert image_chain.in_use(read(top)) == ()
    assert call("image_holders", str(top)) == ""


def starts(path: Path) -> bool:
    """Whether a QEMU can open the image now."""
    words = [*QEMU, "-drive", f"file={path},format=qcow2", "-qmp", "stdio"]
    said = '{"execute": "qmp_capabilities"} {"execute": "quit"}'
    done = subprocess.run(
        words, input=said, capture_output=True, text=True, timeout=30, check=False
    )
    return done.returncode == 0


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("headers")
    (folder / "base").write_bytes(bytes(2**20))
    path = overlay(folder / "sample.qcow2", "base", "raw")
    (folder / "seed").write_bytes(path.read_bytes())
    return path


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_header_means_to_us_what_it_means_to_qemu(sample: Path, data: st.DataObject) -> None:
    """Where qemu-img takes a header at all, names, sizes and kinds agree."""
    head = bytearray(sample.with_name("seed").read_bytes())
    build_header(head, data)
    sample.write_bytes(head)
    told = info(sample)
    chain = read(sample, user="root")
    sound = is_sound(sample, user="root")
    assert sound == (not image_chain.objections(chain, user="root"))
    if told is None:
        return
    top = chain[0]
    assert top.fault == ""
    assert same(top.backing, told.get("backing-filename", ""))
    assert same(top.backing_format, told.get("backing-filename-format", ""))
    assert top.virtual_size // 512 * 512 == told["virtual-size"] // 512 * 512
    assert top.encrypted == told.get("encrypted", False)
    special = told["format-specific"]["data"]
    if special["compat"] == "1.1":  # of an older one QEMU does not say it, nor use it
        assert same(top.data_file or "", special.get("data-file", ""))
    assert bool(top.features & 2) == special.get("corrupt", False)
    full = told.get("full-backing-filename", "")
    if full and not full.startswith("json:") and len(chain) > 1:
        assert same(chain[1].path, full)


@pytest.mark.parametrize(
    ("place", "kind", "value"),
    [
        (24, ">Q", 2**29),
        (24, ">Q", 2**29 + 1),
        (24, ">Q", 2**63 - 1),
        (24, ">Q", 2**64 - 1),
        (36, ">I", 0),
        (36, ">I", 2**22),
        (36, ">I", 2**22 + 1),
        (36, ">I", 2**32 - 1),
        (40, ">Q", 2**16 + 512),
        (40, ">Q", 2**63),
        (48, ">Q", 2**16 + 512),
        (48, ">Q", 2**63),
        (56, ">I", 0),
        (56, ">I", 128),
        (56, ">I", 129),
        (60, ">I", 65537),
    ],
)
def test_tables_that_qemu_would_refuse_are_refused_before(
    folder: Path, place: int, kind: str, value: int
) -> None:
    path = image(folder / "top.qcow2")
    head = bytearray(path.read_bytes())
    struct.pack_into(kind, head, place, value)
    path.write_bytes(head)
    assert (read(path)[0].fault == "") is (info(path) is not None)
    assert is_sound(path) is (info(path) is not None)


def same(ours: str, theirs: str) -> bool:
    """qemu-img writes something else in JSON for bytes that are no UTF-8."""
    return ours == theirs or "\ufffd" in theirs


NAMES = st.text(st.characters(codec="ascii", min_codepoint=0, max_codepoint=126), max_size=40)


EXTENSIONS = st.tuples(
    st.sampled_from([0xE2792ACA, 0xE2792ACA, 0x44415441, 0x6803F857, 0x12345678, 0]),
    st.one_of(st.sampled_from(["raw", "qcow2", "raw\0x", "", "x" * 15, "x" * 16]), NAMES),
    st.sampled_from([0, 0, 0, 0, 1, 7, 2**31]),
)


def build_header(head: bytearray, data: st.DataObject) -> None:
    """Extensions, a backing name and a few flags as a stranger might write them."""
    version = data.draw(st.sampled_from([2, 3, 3, 3]))
    length = 72 if version == 2 else data.draw(st.sampled_from([104, 104, 112, 120]))
    body = b""
    for kind, text, lie in data.draw(st.lists(EXTENSIONS, max_size=5)):
        value = text.encode()
        body += struct.pack(">II", kind, len(value) + lie) + value + bytes(-len(value) % 8)
    name = data.draw(NAMES).encode()
    spare = data.draw(st.sampled_from([0, 0, 8, -8, 3]))
    offset = data.draw(st.sampled_from([0, length + len(body) + 8 + spare, 1024, 65000, 2**16]))
    head[4:8] = struct.pack(">I", version)
    if version == 3:
        head[72:80] = struct.pack(">Q", data.draw(st.sampled_from([0, 0, 1, 2, 4, 8, 32])))
        head[100:104] = struct.pack(">I", length)
        head[104:length] = bytes(length - 104)
    head[length:1024] = (body + bytes(1024))[: 1024 - length]
    head[8:20] = struct.pack(">QI", offset, data.draw(st.sampled_from([len(name)] * 3 + [1023])))
    if offset:
        head[offset : offset + len(name)] = name
    if data.draw(st.booleans()):
        for _ in range(data.draw(st.integers(0, 3))):
            head[data.draw(st.integers(0, 300))] = data.draw(st.integers(0, 255))
    del head[2**20 :]
