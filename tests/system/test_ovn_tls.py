"""Workers that follow OVN's central by TLS: who has no key of theirs is not let in."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.guests import boot_sector_image, cache_directory
from vmops.lab import Lab

from .fleet_helpers import put
from .ovn_site import Site, lab_with_ovn

TEXT = """
[networks.blue]
engine = "ovn"
subnet = "192.168.10.0/24"
[vms.b2]
vm_id = 1
worker = "worker2"
ram_mb = 32
cores = 1
qcow_image = "~/vm_images/b2.qcow2"
interfaces = [{ name = "eth0", network = "blue" }]
"""
BY_TLS = 'northbound = "worker1"\ntls = true\n'
OPENLY = 'northbound = "worker1"\n'
PLACE = "/etc/openvswitch/tls"
SOUTH = "198.51.100.1:6642"


class Authority:
    """Who signs keys, for this test alone."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._signed(self._name, self._key.public_key(), is_authority=True)

    def _signed(
        self, name: x509.Name, key: ec.EllipticCurvePublicKey, *, is_authority: bool = False
    ) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM)

    def give(self, site: Site, worker: str, *, folder: str = PLACE) -> tuple[str, str, str]:
        """Put a key of its own, what it is signed by, and whom to trust into a worker."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, worker)])
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        files = {
            "key.pem": private,
            "cert.pem": self._signed(name, key.public_key()),
            "ca.pem": self.certificate,
        }
        for file, content in files.items():
            write = f"umask 077; mkdir -p {folder}; cat >{folder}/{file}"
            site.lab.run(worker, ("sh", "-c", write), stdin=content)
        return f"{folder}/key.pem", f"{folder}/cert.pem", f"{folder}/ca.pem"


def asked(site: Site, worker: str, remote: str, keys: tuple[str, str, str] | None = None) -> bool:
    """True where the southbound database answers to who asks it from there."""
    own = zip(("--private-key", "--certificate", "--ca-cert"), keys or (), strict=False)
    words = (f"{option}={path}" for option, path in own)
    argv = ("ovn-sbctl", "--timeout=3", f"--db={remote}", *words, "get-connection")
    return site.lab.run(worker, argv, check=False).returncode == 0


def follows(site: Site, worker: str) -> bool:
    said = site.on(worker, "ovn-appctl", "-t", "ovn-controller", "connection-status")
    return said.strip() == "connected"


@pytest.fixture(scope="module")
def ovn_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab_with_ovn(tmp_path_factory.mktemp("ovn")) as lab:
        yield lab


def test_a_site_goes_over_to_tls_and_nobody_else_is_let_in(ovn_lab: Lab, tmp_path: Path) -> None:
    site = Site(ovn_lab, tmp_path)
    site.write(TEXT, ovn=OPENLY)
    site.ok("ovn.setup")
    put(site, "worker2", "~/vm_images/b2.qcow2", boot_sector_image(cache_directory()).read_bytes())
    assert asked(site, "worker2", f"tcp:{SOUTH}")

    site.write(TEXT, ovn=BY_TLS)
    keyless = site.fab("ovn.setup")
    assert keyless.code == 1
    assert "no keys for TLS in Open vSwitch and OVN's southbound database" in keyless.err
    assert follows(site, "worker2"), "nothing was begun"

    ours, theirs = Authority("ours"), Authority("theirs")
    keys = {worker: ours.give(site, worker) for worker in ("worker1", "worker2")}
    for worker, three in keys.items():
        site.on(worker, "ovs-vsctl", "set-ssl", *three)
    site.on("worker1", "ovn-sbctl", "set-ssl", *keys["worker1"])
    said = site.ok("ovn.setup", "--format", "json").json
    assert [(one["set"], one["connected"]) for one in said] == [
        (["listen", "central"], True),
        (["central"], True),
    ]
    again = site.ok("ovn.setup", "--format", "json").json
    assert [(one["set"], one["connected"]) for one in again] == [([], True)] * 2

    site.ok("up")
    assert site.status_of("b2")["state"] == "running"
    assert site.networks()["blue"]["error"] is None

    stranger = theirs.give(site, "worker2", folder="/etc/openvswitch/stranger")
    assert asked(site, "worker2", f"ssl:{SOUTH}", keys["worker2"])
    assert not asked(site, "worker2", f"ssl:{SOUTH}", stranger)
    assert not asked(site, "worker2", f"ssl:{SOUTH}", (*stranger[:2], keys["worker2"][2]))
    assert not asked(site, "worker2", f"tcp:{SOUTH}")

    # A chassis whose key nobody here has signed.
    site.on("worker2", "ovs-vsctl", "set-ssl", *stranger[:2], keys["worker2"][2])
    ovn_lab.stop_daemon("worker2", "ovn-controller")
    ovn_lab.start_daemon("worker2", "ovn-controller")
    refused = site.fab("doctor", "--worker", "worker2")
    assert "ovn-controller has no connection to OVN's central" in refused.err
    assert not follows(site, "worker2")

    # Another operator's file, which does not know of it, takes nothing back.
    site.write(TEXT, ovn=OPENLY)
    old = site.fab("ovn.setup")
    assert old.code == 1
    for worker in ("worker1", "worker2"):
        assert f"{worker}: its OVN goes by TLS, and hosts.toml does not say so" in old.err
    assert "write tls = true in [ovn]" in old.err
    assert not asked(site, "worker2", f"tcp:{SOUTH}")
