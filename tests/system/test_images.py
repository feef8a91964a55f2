"""Images and disks on a real worker: sent by real sshd, made and judged in exchanges."""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path

from vmops.core.images.names import Base, disk_path
from vmops.core.script import script
from vmops.core.script.command import Block, BlockResult, Command, Step
from vmops.core.tools import image_chain, qemu_img
from vmops.inventory_file import load
from vmops.lab import Lab
from vmops.remote.exchange import exchange
from vmops.remote.image.image_file import ImageFile
from vmops.remote.image.transfer import push

DISK = disk_path("images-test", "root", "qcow2")


def do(lab: Lab, *commands: Command) -> BlockResult:
    block = Block("images", tuple(Step(str(n), (entry,)) for n, entry in enumerate(commands)))
    nonce = secrets.token_hex(16)
    text = script.render([block], nonce=nonce)
    reply = exchange(load(lab.inventory).workers["worker1"], text, time_limit=60)
    return script.parse([block], nonce=nonce, stdout=reply.stdout, stderr=reply.stderr)[0]


def test_an_image_is_sent_and_a_disk_stands_on_it(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "base.qcow2"
    create = ["qemu-img", "create", "-q", "-f", "qcow2", str(path), "64M"]
    subprocess.run(create, check=True, timeout=30)
    worker = load(lab.inventory).workers["worker1"]
    with ImageFile(path) as image:
        base = Base(image.digest(), "qcow2")
        assert not push(worker, image, base=base).was_there
        assert push(worker, image, base=base).was_there
    asked = (qemu_img.make_overlay(DISK, base), image_chain.read_chain(DISK))
    made = do(lab, *asked, image_chain.find_holders(DISK))
    try:
        assert made.outcome == "done"
        chain = image_chain.parse(made.steps[1].stdout.decode())
        assert [entry.path.rpartition("/")[2] for entry in chain] == [
            DISK.rpartition("/")[2],
            base.name,
        ]
        assert image_chain.objections(chain, user="ubuntu") == ()
        assert image_chain.in_use(chain) == ()
        assert image_chain.parse_holders(made.steps[2].stdout.decode()) == ()
    finally:
        removal = qemu_img.remove_disk(DISK), qemu_img.remove_disk(base.path)
        assert do(lab, *removal).outcome == "done"


def test_what_the_ssh_user_may_not_open_is_told_in_an_exchange_of_root(lab: Lab) -> None:
    said = do(lab, image_chain.read_chain("/etc/shadow")).steps[0].stdout.decode()
    (objection,) = image_chain.objections(image_chain.parse(said), user="ubuntu")
    assert objection.what == "ubuntu cannot write to /etc/shadow: Permission denied"
