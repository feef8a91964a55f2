"""Words that mean nothing: exit code 2, one error that says it, and no worker is contacted."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from .own_folder import fab, lay_out

HOSTS = """
[workers.w1]
address = "127.0.0.1"
port = {port}

[networks.blue]
vlan_id = 8

[images.lost]
file = "no/such.qcow2"

[vm_defaults]
worker = "w1"
ram_mb = 32
cores = 1
interfaces = [{{ name = "eth0", vlan_id = 7 }}]

[vms.a]
qcow_image = "/a.qcow2"

[vms.b]
qcow_image = "/b.qcow2"

[vms.told]
qcow_image = "/told.qcow2"
cloud_init = {{ user_data = "no/such.yaml" }}
"""


@pytest.fixture
def ear() -> Iterator[socket.socket]:
    """What hears whoever connects."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


@pytest.mark.parametrize(
    "words",
    [
        ["exec", "--vm", "a"],
        ["exec", "--vm", "a", "--", ""],
        ["exec", "--vm", "a", "uname"],
        ["exec", "--vm", "a", "uname", "--", "-a"],
        ["status", "--", "uname"],
        ["-H", "w", "status", "--", "uname"],
        ["ps", "status", "--", "uname", "-a"],
        ["exec", "--vm", "nope", "--", "true"],
        ["cp", "x", "y"],
        ["cp", "a:/x", "b:/y"],
        ["cp", "a:x", "."],
        ["cp", "x", "a,b:/y"],
        ["cp", "*:/x", "y"],
        ["cp", "x", ":/y"],
        ["net.up", "--network", ""],
        ["net.up", "--network", "nope"],
        ["net.down", "--network", "blu"],
        ["ovn.setup"],
        ["ovn.setup", "--worker", "nope"],
        ["verify", "--vm", ""],
        ["verify", "--vm", "nope"],
        ["trace", "--from", "a"],
        ["trace", "--from", "", "--to", "a"],
        ["trace", "--from", "a:nope", "--to", "a"],
        ["capture", "--vm", "a:nope"],
        ["capture", "--vm", "a", "--count", "-1"],
        ["capture", "--vm", "a", "--write", "hosts.toml"],
        ["capture", "--vm", "a", "--write", "no/such/f.pcap"],
        ["capture", "--vm", "a", "--write", ".", "--force"],
        ["graph", "--format", "nope"],
        ["graph", "--format", "svg", "--output", "hosts.toml"],
        ["graph", "--output", "no/such/lab.svg"],
        ["graph", "--format", "dot", "--output", "~nobody-at-all/x"],
        ["ping", "--vm", "a", "--to", "a"],
        ["ping", "--vm", "a", "--from", "b", "--to", "a"],
        ["trace", "--vm", "a", "--from", "b", "--to", "a"],
        ["ssh", "--vm", "a"],
        ["nic.down", "--vm", "a"],
        ["nic.up", "--vm", "a:"],
        ["net.impair", "--vm", "a", "--clear"],
        ["net.impair", "--vm", "a:nope", "--clear"],
        ["net.impair", "--vm", "a:eth1"],
        ["net.impair", "--vm", "a:eth1", "--delay-ms", "-1"],
        ["net.impair", "--vm", "a:eth1", "--loss-pct", "101"],
        ["net.impair", "--vm", "a:eth1", "--jitter-ms", "5"],
        ["net.impair", "--vm", "a:eth1", "--impaired", "in"],
        ["net.impair", "--vm", "a:eth1", "--delay-ms", "5", "--impaired", "up"],
        ["net.impair", "--vm", "a:eth1", "--delay-ms", "5", "--clear"],
        ["migrate", "--vm", "a"],
        ["migrate", "--to", "w"],
        ["migrate", "--vm", "a", "--to", "nowhere"],
        ["migrate", "--vm", "a", "--to", "w", "--timeout", "-1"],
        ["migrate", "--vm", "a", "--to", "w", "--downtime-ms", "0"],
        ["migrate", "--vm", "a", "--to", "w", "--bandwidth-mbit", "-1"],
        ["migrate", "--vm", "a", "--to", "nowhere", "--direct"],
        ["migrate", "--vm", "a", "--to", "w1", "--cold", "--direct"],
        ["migrate", "--vm", "a", "--to", "w1", "--cold", "--downtime-ms", "5"],
        ["migrate", "--vm", "a", "--to", "w1", "--force"],
        ["drain", "--worker", "w1", "--cold", "--direct"],
        ["undrain", "--worker", "w1", "--cold", "--direct"],
        ["undrain", "--worker", "w1", "--stay", "--direct"],
        ["undrain", "--worker", "w1", "--stay", "--cold"],
        ["snapshot.save", "--vm", "a"],
        ["snapshot.save", "--vm", "a", "--name", "a\nb"],
        ["snapshot.save", "--vm", "a", "--freeze"],
        ["snapshot.thaw", "--vm", ""],
        ["snapshot.revert", "--vm", "a", "--name", "s1"],
        ["nic.down", "--vm", "a:nope"],
        ["suspend", "--vm", "nope"],
        ["launch", "--vm", "told"],
        ["boot", "--vm", "told"],
        ["restart", "--vm", "told"],
        ["up"],
        ["plan", "--vm", "told"],
        ["adopt", "--vm", "a,b", "--pid", "7"],
        ["drain"],
        ["drain", "--worker", ""],
        ["drain", "--worker", "nope"],
        ["prune", "--worker", "nope"],
        ["prune", "--worker", "10.9.9.9"],
        ["doctor", "--worker", "z*"],
        ["history", "--worker", "nope"],
        ["status", "--worker", "nope"],
        ["image.list", "--worker", "nope"],
        ["run", "--worker", "nope", "true"],
        ["stop", "--vm", "a", "--timeout", "abc"],
        ["drain", "--worker", "w1,w1x"],
        ["undrain"],
        ["undrain", "--worker", "nope"],
        ["place", "--vm", "nope"],
        ["place", "--vm", ""],
        ["place", "--vm", "told"],
        ["place", "--worker", "nope"],
        ["screenshot", "--vm", "a,b", "--output", "-", "--each"],
        ["vnc", "--vm", "a,b"],
        ["console", "--vm", "a,b"],
        ["type", "--vm", "a"],
        ["sendkey", "--vm", "a", "--keys", "no-such-key"],
        ["image.push", "--image", "nope"],
        ["image.push"],
        ["image.push", "--fan-out"],
        ["graph", "--web", "--output", "lab.svg"],
        ["graph", "--web", "--port", "70000"],
        ["image.remove"],
        ["image.remove", "--unused"],
        ["script"],
        ["status", "--vm", "nope"],
        ["destroy", "--vm", "a"],
        ["reset-disk", "--vm", "a", "--disk", ""],
        ["reset-disk", "--vm", "a", "--disk", "nope", "--yes"],
        ["wait", "--vm", "a", "--state", "redy"],
        ["cloud-init.show", "--vm", "a"],
        ["export", "--vm", "a"],
        ["export", "--vm", "nope", "--format", "libvirt"],
        ["export", "--vm", "a", "--format", "vmware"],
        ["export", "--vm", "a", "--format", "ovn"],
        ["export", "--vm", "a,b", "--format", "libvirt"],
        ["export", "--vm", "a,b", "--format", "script", "--output", "one-file"],
        ["export", "--vm", "a", "--format", "libvirt", "--home", "~"],
        ["export", "--vm", "a", "--format", "script", "--storage", "x"],
        ["export", "--vm", "told", "--format", "script"],
        ["from-libvirt"],
        ["from-libvirt", "--vm", "a"],
        ["from-libvirt", "--worker", "w1", "--vm", "--all"],
        ["from-libvirt", "--worker", "w1", "--vm", "a,"],
        ["from-libvirt", "--worker", "w1", "--vm", "a", "--input", "a.xml"],
        ["from-libvirt", "--worker", "w1", "--input", "a.xml"],
        ["from-libvirt", "--input", "no/such.xml"],
        ["from-libvirt", "--input", "hosts.toml"],
        ["from-libvirt", "--input", "~nobody-at-all/x"],
        ["export", "--vm", "a", "--format", "libvirt", "--output", "~nobody-at-all/x"],
        ["export", "--vm", "a", "--format", "libvirt", "--output", "~nobody-at-all/"],
        ["-H", "w1", "script", "~nobody-at-all/x"],
        ["cp", "a:/x", "/dev/null"],
        ["cp", "a:/x", "-"],
        ["cp", "-", "a:/x"],
        ["stop", "--vm", ","],
        ["status", "--vm", "a,"],
        ["ps", "--worker", ",w1"],
        ["image.push", "--image", "lost,"],
    ],
    ids=" ".join,
)
def test_bad_words_are_told_and_nothing_is_contacted(
    words: list[str], ear: socket.socket, tmp_path: Path
) -> None:
    _check_refused(words, {}, ear, tmp_path)


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("VMOPS_HOSTS", ["status"]),
        ("VMOPS_HOSTS", ["stop", "--vm", "a", "--force"]),
        ("VMOPS_HOSTS", ["-H", "127.0.0.1", "run", "true"]),
        ("VMOPS_HOSTS", ["inventory"]),
        ("VMOPS_LAB_DIR", ["lab.status"]),
        ("VMOPS_LAB_DIR", ["lab.down"]),
        ("VMOPS_LAB_DIR", ["-H", "127.0.10.250", "run", "true"]),
        ("VMOPS_NOVNC", ["vnc", "--vm", "a", "--web"]),
    ],
)
@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_variable_is_told_and_stands_for_no_default(
    variable: str, words: list[str], value: str, ear: socket.socket, tmp_path: Path
) -> None:
    assert f"{variable}={value}: " in _check_refused(words, {variable: value}, ear, tmp_path)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["launch", "a"], "fab launch --vm a"),
        (["drain", "w1"], "fab drain --worker w1"),
        (["undrain", "w1", "--stay"], "fab undrain --worker w1"),
        (["doctor", "w1"], "fab doctor --worker w1"),
        (["migrate", "a", "w1"], "fab migrate --vm a --to WORKER"),
        (["migrate", "--to", "w1", "a"], "fab migrate --vm a --to w1"),
        (["migrate", "--vm", "a", "w1"], "fab migrate --vm a --to w1"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_a_name_without_its_option_is_told_with_it(
    words: list[str], meant: str, ear: socket.socket, tmp_path: Path
) -> None:
    assert _check_refused(words, {}, ear, tmp_path).endswith(f"\n  {meant}\n")


def _check_refused(
    words: list[str], variables: dict[str, str], ear: socket.socket, tmp_path: Path
) -> str:
    """Run the words where a worker would hear of them; give what was said."""
    lay_out(tmp_path, HOSTS.format(port=ear.getsockname()[1]))
    done = fab(words, tmp_path, **variables)
    assert done.returncode == 2, done
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("error: ") == 1
    assert (done.stdout, "Traceback" in done.stderr) == ("", False)
    with pytest.raises(BlockingIOError):
        ear.accept()
    return done.stderr
