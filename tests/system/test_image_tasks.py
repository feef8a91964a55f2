"""image.push, list, verify, remove and pull on real workers, with what goes wrong there."""

from __future__ import annotations

import hashlib
import random
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from .lab_helpers import wait_until
from .operator import FAB, ROOT, Operator

FOLDER = "/home/ubuntu/vm_images/.vmops"
WORKERS = ("worker1", "worker2")
AS_UBUNTU = ("setpriv", "--reuid=ubuntu", "--regid=ubuntu", "--clear-groups")


def made(path: Path, size: str = "64M", *, data_mb: int = 0, seed: int = 1) -> str:
    """A qcow2 image with some data that cannot be packed; its sha256."""
    raw = path.with_suffix(".raw")
    with raw.open("wb") as file:
        file.write(random.Random(seed).randbytes(data_mb << 20))
        file.truncate(int(size.removesuffix("M")) << 20)
    convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(path)]
    subprocess.run(convert, check=True, timeout=60)
    raw.unlink()
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def debian(operator: Operator, tmp_path: Path) -> Iterator[str]:
    """hosts.toml with an image `debian`; its sha256. The images folders are emptied afterwards."""
    digest = made(tmp_path / "debian.qcow2", data_mb=2)
    operator.extra = '[images.debian]\nfile = "debian.qcow2"\n'
    operator.write()
    yield digest
    for worker in WORKERS:
        operator.on(worker, "sh", "-c", f"rm -rf {FOLDER} /home/ubuntu/vm_images/hand*")


def there(operator: Operator, worker: str) -> list[str]:
    return operator.on(worker, "sh", "-c", f"ls {FOLDER} 2>/dev/null || :").split()


def overlay(operator: Operator, worker: str, path: str, base: str, *options: str) -> None:
    words = ("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", *options, "-b", base, path)
    operator.on(worker, *AS_UBUNTU, *words)


def test_an_image_is_pushed_to_all_workers_listed_verified_and_removed(
    operator: Operator, debian: str
) -> None:
    name = f"base-{debian}.qcow2"
    unread = operator.fab("image.verify")
    assert (unread.code, "nothing was verified" in unread.err) == (1, True)
    said = operator.ok("image.push", "--format", "json").json
    assert [(one["worker"], one["base"], one["changed"]) for one in said] == [
        (worker, name, True) for worker in WORKERS
    ]
    assert [one["error"] for one in said] == [None, None]
    again = operator.ok("image.push", "--image", "deb*")
    assert again.err.count("debian on worker") == 2
    assert again.err.count("it is there already") == 2
    listed = operator.ok("image.list", "--format", "json").json
    assert [(one["worker"], one["image"], one["state"]) for one in listed] == [
        (worker, "debian", "whole") for worker in WORKERS
    ]
    table = operator.ok("-H", "worker1", "image.list").out
    assert debian[:12] in table
    assert table == operator.ok("-H", "worker1", "image.verify").out
    assert " whole " in table
    assert operator.ok("image.verify", "--format", "json").json[0]["state"] == "whole"
    for worker in WORKERS:
        assert there(operator, worker) == [name]
    asked = operator.fab("image.remove", "--image", "debian")
    assert (asked.code, "--yes" in asked.err) == (2, True)
    operator.ok("image.remove", "--image", "debian", "--worker", "worker1", "--yes")
    assert there(operator, "worker1") == []
    assert there(operator, "worker2") == [name]
    states = operator.ok("image.list", "--format", "json").json
    assert [one["state"] for one in states] == ["absent", "whole"]


def test_a_changed_file_is_another_base_and_the_old_one_goes_when_nothing_stands_on_it(
    operator: Operator, debian: str, tmp_path: Path
) -> None:
    operator.ok("-H", "worker1", "image.push")
    new = made(tmp_path / "debian.qcow2", data_mb=1, seed=2)
    operator.ok("-H", "worker1", "image.push")
    assert there(operator, "worker1") == sorted(f"base-{one}.qcow2" for one in (debian, new))
    overlay(operator, "worker1", f"{FOLDER}/disk-x-root.qcow2", f"base-{debian}.qcow2")
    kept = operator.ok("-H", "worker1", "image.remove", "--unused", "--yes")
    assert "no image is unused" in kept.err
    refused = operator.fab("-H", "worker1", "image.remove", "--image", debian[:10], "--yes")
    assert refused.code == 1
    assert f"base-{debian[:12]} is in use" in refused.err
    operator.on("worker1", "rm", f"{FOLDER}/disk-x-root.qcow2")
    removed = operator.ok("-H", "worker1", "image.remove", "--unused", "--yes")
    assert f"base-{debian[:12]} on worker1: removed" in removed.err
    assert there(operator, "worker1") == [f"base-{new}.qcow2"]


@pytest.mark.parametrize("how", ["by hand", "over another", "by a link", "a running QEMU"])
def test_a_base_in_use_is_left_whoever_uses_it(operator: Operator, debian: str, how: str) -> None:
    operator.ok("-H", "worker1", "image.push")
    base = f"{FOLDER}/base-{debian}.qcow2"
    images = "/home/ubuntu/vm_images"
    pid = ""
    if how == "by hand":
        overlay(operator, "worker1", f"{images}/hand.qcow2", base)
    elif how == "over another":
        overlay(operator, "worker1", "/var/tmp/middle.qcow2", base)
        overlay(operator, "worker1", f"{images}/hand.qcow2", "/var/tmp/middle.qcow2")
    elif how == "by a link":
        operator.on("worker1", "ln", "-s", base, f"{images}/hand-link")
        overlay(operator, "worker1", f"{images}/hand.qcow2", f"{images}/hand-link")
    else:
        overlay(operator, "worker1", "/var/tmp/far.qcow2", base)
        qemu = "qemu-system-x86_64 -display none -S -daemonize -pidfile /var/tmp/far.pid"
        operator.on("worker1", "sh", "-c", f"{qemu} -drive file=/var/tmp/far.qcow2,format=qcow2")
        pid = operator.on("worker1", "cat", "/var/tmp/far.pid").strip()
    try:
        refused = operator.fab("-H", "worker1", "image.remove", "--image", "debian", "--yes")
        assert (refused.code, "is in use" in refused.err) == (1, True), refused.err
        assert there(operator, "worker1") == [f"base-{debian}.qcow2"]
        told = operator.ok("-H", "worker1", "image.list", "--format", "json").json[0]
        assert told["disks"] == ([] if pid else [f"{images}/hand.qcow2"])
        assert told["holders"] == ([int(pid)] if pid else [])
    finally:
        if pid:
            operator.on("worker1", "kill", pid)
        operator.on("worker1", "sh", "-c", "rm -f /var/tmp/middle.qcow2 /var/tmp/far.*")


def test_what_cannot_be_read_may_stand_on_a_base(operator: Operator, debian: str) -> None:
    operator.ok("-H", "worker1", "image.push")
    operator.on(
        "worker1",
        "sh",
        "-c",
        "echo x >/home/ubuntu/vm_images/hand; chmod 600 ~ubuntu/vm_images/hand",
    )
    refused = operator.fab("-H", "worker1", "image.remove", "--image", "debian", "--yes")
    assert refused.code == 1
    assert "vm_images/hand: Permission denied" in refused.err
    assert there(operator, "worker1") == [f"base-{debian}.qcow2"]


def test_a_damaged_base_is_found(operator: Operator, debian: str) -> None:
    operator.ok("-H", "worker1", "image.push")
    path = f"{FOLDER}/base-{debian}.qcow2"
    operator.on("worker1", "sh", "-c", f"printf x | dd of={path} bs=1 seek=70000 conv=notrunc")
    said = operator.fab("-H", "worker1", "image.verify", "--format", "json")
    assert (said.code, said.json[0]["state"]) == (1, "damaged")
    assert "is damaged: its sha256 is" in said.err
    assert " damaged " in operator.fab("-H", "worker1", "image.verify").out


def test_another_file_than_promised_is_refused_before_a_worker_is_contacted(
    operator: Operator, debian: str
) -> None:
    operator.extra = f'[images.debian]\nfile = "debian.qcow2"\nsha256 = "{"0" * 64}"\n'
    operator.write()
    said = operator.fab("image.push")
    assert (said.code, debian in said.err) == (2, True)


def test_a_push_that_is_killed_ten_times_goes_on_each_time(
    operator: Operator, debian: str, tmp_path: Path
) -> None:
    """Its name is never there before the whole of it is."""
    digest = made(tmp_path / "debian.qcow2", "600M", data_mb=250)
    final, part = (f"{FOLDER}/base-{digest}.qcow2{end}" for end in ("", ".part"))

    def size(path: str) -> int:
        return int(operator.on("worker1", "sh", "-c", f"stat -c %s {path} 2>/dev/null || echo 0"))

    def has_come(wanted: int) -> bool:
        return size(part) >= wanted or size(final) > 0

    reached = [0]
    for cut in range(1, 11):
        with subprocess.Popen(
            [FAB, "-H", "worker1", "image.push"],
            cwd=ROOT,
            env=operator.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as pushing:
            wanted = max(reached[-1] + 1, cut * 4 << 20)
            wait_until(partial(has_come, wanted), seconds=60)
            pushing.kill()
        assert size(final) == 0, "it came whole before it could be cut"
        reached.append(size(part))
        assert reached[-1] >= reached[-2]
    said = operator.ok("-H", "worker1", "image.push", "--format", "json").json[0]
    assert said["resumed_at"] >= reached[-1] - (1 << 20)
    assert operator.on("worker1", "sha256sum", final).split()[0] == digest
    assert there(operator, "worker1") == [f"base-{digest}.qcow2"]


def test_twenty_overlays_of_one_base_cost_it_once(operator: Operator, debian: str) -> None:
    operator.ok("-H", "worker1", "image.push")
    for number in range(20):
        path = f"{FOLDER}/disk-v{number}-root.qcow2"
        overlay(operator, "worker1", path, f"base-{debian}.qcow2")
    used = int(operator.on("worker1", "du", "-sk", FOLDER).split()[0])
    assert used < 2 * 1024 + 20 * 256 + 512
    (base,) = operator.ok("-H", "worker1", "image.list", "--format", "json").json
    assert len(base["disks"]) == 20


def test_a_dry_run_sends_nothing(operator: Operator, debian: str) -> None:
    said = operator.ok("--dry", "image.push")
    assert f"debian.qcow2 as ~/vm_images/.vmops/base-{debian}.qcow2" in said.out
    operator.ok("--dry", "image.remove", "--image", "debian")
    assert there(operator, "worker1") == []


def test_a_worker_fetches_an_image_itself(operator: Operator, debian: str, tmp_path: Path) -> None:
    """From a server in the worker itself: nothing goes through the operator."""
    address = operator.address("worker1")
    operator.on("worker1", "mkdir", "-p", "/var/tmp/web")
    serve = f"cd /var/tmp/web && exec setsid python3 -m http.server --bind {address} 8099"
    operator.on(
        "worker1", "sh", "-c", f"({serve}) >/dev/null 2>&1 </dev/null & echo $! >/var/tmp/web.pid"
    )
    try:
        content = (tmp_path / "debian.qcow2").read_bytes()
        operator.lab.run("worker1", ["sh", "-c", "cat >/var/tmp/web/d.qcow2"], stdin=content)
        wait_until(lambda: ":8099" in operator.on("worker1", "ss", "-Hltn"))
        url = f"http://{address}:8099/d.qcow2"
        operator.extra = f'[images.debian]\nurl = "{url}"\nsha256 = "{debian}"\n'
        operator.write()
        said = operator.ok("-H", "worker1", "image.pull", "--format", "json").json[0]
        assert (said["changed"], said["sent_bytes"]) == (True, len(content))
        assert there(operator, "worker1") == [f"base-{debian}.qcow2"]
        refused = operator.fab("image.push", "--image", "debian")
        assert (refused.code, "has no file" in refused.err) == (2, True)
    finally:
        operator.on("worker1", "sh", "-c", "kill $(cat /var/tmp/web.pid); rm -rf /var/tmp/web*")


def test_a_disk_without_room_is_told_and_left_as_it_was(
    operator: Operator, debian: str, tmp_path: Path
) -> None:
    made(tmp_path / "debian.qcow2", "200M", data_mb=40)
    mount = f"mkdir -p {FOLDER} && mount -t tmpfs -o size=16m,uid=$(id -u ubuntu) none {FOLDER}"
    operator.on("worker1", "sh", "-c", mount)
    try:
        said = operator.fab("image.push", "--format", "json")
        first, second = said.json
        assert said.code == 1
        assert "needs 40 MiB" in first["error"]
        assert "MiB are free" in first["error"]
        assert (first["changed"], second["changed"], second["error"]) == (False, True, None)
        assert there(operator, "worker1") == []
    finally:
        operator.on("worker1", "umount", FOLDER)
