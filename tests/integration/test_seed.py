"""The seed before the real cloud-init, and read by other tools than the one that wrote it."""

from __future__ import annotations

import email
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from invoke.vendor import yaml

from vmops.core.devices.seed import cd, documents, ready
from vmops.core.devices.seed.ready import Ending
from vmops.core.inventory.guest.told import GuestNic, GuestUser, Seed

WEB = Seed(
    "web1",
    (GuestUser("ops", ("ssh-ed25519 AAAAC3Nz ops@laptop",)),),
    ("tcpdump",),
    nics=(
        GuestNic(
            "eth0", "52:54:00:03:e9:01", ("10.1.1.5/24",), "10.1.1.1", ("10.1.1.2",), mtu=1446
        ),
        GuestNic("eth1", "52:54:00:03:e9:02", dhcp=True),
        GuestNic("eth2", "52:54:00:03:e9:03", ("fd00::5/64",), "fd00::1"),
    ),
)

has_cloud_init = pytest.mark.skipif(shutil.which("cloud-init") is None, reason="no cloud-init")


@has_cloud_init
@pytest.mark.parametrize("told", [WEB, Seed("bare"), WEB._replace(hostname="ü\u2028")])
def test_the_distributions_schema_has_nothing_against_it(tmp_path: Path, told: Seed) -> None:
    file = tmp_path / "user-data"
    file.write_bytes(documents.documents(told)[documents.USER_DATA])
    words = ["cloud-init", "schema", "--config-file", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "Valid" in done.stdout) == (0, True), done.stdout + done.stderr


@has_cloud_init
def test_the_schema_would_have_something_against_a_bad_one(tmp_path: Path) -> None:
    file = tmp_path / "user-data"
    file.write_text('#cloud-config\n{"packages": 5}\n')
    words = ["cloud-init", "schema", "--config-file", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0


@has_cloud_init
def test_cloud_init_makes_of_the_network_what_was_meant(tmp_path: Path) -> None:
    """As ifupdown's file, which shows names, addresses, routes and servers."""
    file = tmp_path / "network-config"
    file.write_bytes(documents.documents(WEB)[documents.NETWORK])
    words = ["cloud-init", "devel", "net-convert", "-p", str(file), "-k", "yaml"]
    words += ["-d", str(tmp_path / "out"), "-D", "debian", "-O", "eni"]
    for nic in WEB.nics:
        words += ["-m", f"{nic.name},{nic.mac}"]
    subprocess.run(words, capture_output=True, timeout=60, check=True)
    written = (tmp_path / "out/etc/network/interfaces.d/50-cloud-init").read_text()
    for said in (
        "iface eth0 inet static\n    address 10.1.1.5/24\n    dns-nameservers 10.1.1.2",
        "mtu 1446",
        "post-up route add default gw 10.1.1.1",
        "iface eth1 inet dhcp",
        "iface eth2 inet6 static\n    address fd00::5/64\n    gateway fd00::1",
    ):
        assert said in written


MERGE = """
import importlib.util, json, sys
from cloudinit import mergers
first, second, how = json.load(sys.stdin)
print(json.dumps(mergers.construct(mergers.string_extract_mergers(how)).merge(first, second)))
"""


@has_cloud_init
def test_cloud_init_merges_lists_and_leaves_the_operators_values(tmp_path: Path) -> None:
    theirs = (
        b"#cloud-config\n"
        + json.dumps(
            {
                "packages": ["vim"],
                "package_update": False,
                "bootcmd": ["true"],
                "users": ["default"],
            }
        ).encode()
    )
    text = documents.documents(WEB._replace(user_data=theirs))[documents.USER_DATA]
    parts = [part for part in email.message_from_bytes(text).walk() if not part.is_multipart()]
    first, second = (yaml.safe_load(bytes(part.get_payload(decode=True))) for part in parts)
    asked = json.dumps([first, second, parts[1]["X-Merge-Type"]])
    env = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(
        ["/usr/bin/python3", "-c", MERGE],
        input=asked,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=env,
    )
    merged = json.loads(done.stdout)
    assert merged["packages"] == ["vim", "tcpdump"]
    assert merged["package_update"] is False
    assert merged["users"][0] == "default"
    assert merged["users"][1]["name"] == "ops"
    assert len(merged["bootcmd"]) == 2


@pytest.mark.skipif(shutil.which("isoinfo") is None, reason="no isoinfo")
def test_isoinfo_reads_the_cd(tmp_path: Path) -> None:
    files = documents.documents(WEB)
    path = tmp_path / "seed.iso"
    path.write_bytes(cd.iso(files))

    def isoinfo(*words: str) -> str:
        done = subprocess.run(
            ["isoinfo", "-i", str(path), *words], capture_output=True, text=True, timeout=60
        )
        return done.stdout

    assert "Volume id: cidata" in isoinfo("-d")
    assert "Rock Ridge signatures version 1 found" in isoinfo("-d")
    for namespace in ("-R", "-J"):
        assert set(isoinfo(namespace, "-f").split()) == {f"/{name}" for name in files}
        for name, content in files.items():
            assert isoinfo(namespace, "-x", f"/{name}").encode() == content


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_guests_word_is_what_we_read(tmp_path: Path, code: int) -> None:
    """The command that the guest gets, with files in place of its cloud-init and serial port."""
    files = documents.documents(WEB)
    (command,) = yaml.safe_load(files[documents.USER_DATA])["bootcmd"]
    says = "printf 'status: odd\\nerrors:\\n\\t- \\033[31mno\\n'"
    (tmp_path / "cloud-init").write_text(f"#!/bin/sh\n{says}\nexit {code}\n")
    (tmp_path / "cloud-init").chmod(0o755)
    port = tmp_path / "port"
    port.touch()
    words = [*command[:-1], command[-1].replace("/dev/ttyS0", str(port)) + " wait"]
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(words, env=env, timeout=30, check=True)
    assert port.read_bytes().endswith(b"\r\n")
    read = ready.ending(port.read_bytes(), documents.instance_of(files))
    assert read == Ending(code, "status: odd errors: - [31mno" if code else "")
