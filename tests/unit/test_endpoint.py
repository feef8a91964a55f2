from __future__ import annotations

from pathlib import Path
from typing import Any

import fabric
import paramiko
import pytest

from vmops.core.inventory.model import Worker
from vmops.errors import InventoryError
from vmops.remote.ssh.endpoint import Endpoint, endpoint_of

SSH_CONFIG = """
Host alias
  HostName 10.0.0.9
  Port 2200
  User deploy
  IdentityFile /keys/alias
  UserKnownHostsFile /known/one /known/two
  ConnectTimeout 7
  ForwardAgent no

Host jumped
  ProxyJump outer:2201,me@inner

Host inner
  User insider

Host proxied
  HostName target
  ProxyCommand connect %h %p as %r for %n, 100%%

Host everything.* bastion
  ProxyJump bastion
"""


def config(text: str = SSH_CONFIG, **overrides: Any) -> fabric.Config:
    return fabric.Config(ssh_config=paramiko.SSHConfig.from_text(text), overrides=overrides)


def worker(address: str, **settings: Any) -> Worker:
    return Worker("w", address=address, **settings)


@pytest.mark.parametrize(
    ("asked", "fab", "expected"),
    [
        pytest.param(
            worker("10.0.0.1"),
            config(),
            {"host": "10.0.0.1", "port": 22, "user": "ubuntu", "connect_limit": 10.0, "via": None},
            id="nothing said",
        ),
        pytest.param(
            worker("alias"),
            config(),
            {
                "host": "10.0.0.9",
                "port": 2200,
                "user": "deploy",
                "identity_files": ("/keys/alias",),
                "known_hosts": ("/known/one", "/known/two"),
                "host_key_name": "[10.0.0.9]:2200",
                "connect_limit": 7.0,
                "forward_agent": "",
            },
            id="ssh_config",
        ),
        pytest.param(
            worker("alias", user="me", port=22, identity_file="/mine", known_hosts="/kh"),
            config(),
            {
                "user": "me",
                "port": 22,
                "host_key_name": "10.0.0.9",
                "identity_files": ("/mine", "/keys/alias"),
                "known_hosts": ("/kh",),
            },
            id="the worker wins over ssh_config",
        ),
        pytest.param(
            worker("alias", identity_file="/mine"),
            config(connect_kwargs={"key_filename": ["/from-i"], "timeout": 3}),
            {"identity_files": ("/from-i", "/mine", "/keys/alias"), "connect_limit": 3.0},
            id="-i and -t",
        ),
        pytest.param(
            worker("10.0.0.1"),
            config(user="fabuser", port=99),
            {"user": "fabuser", "port": 99},
            id="fab's own configuration",
        ),
        pytest.param(
            worker("h"),
            config("Host *\n IdentitiesOnly yes\n HostKeyAlias Name"),
            {"only_these_identities": True, "host_key_name": "name"},
            id="IdentitiesOnly and HostKeyAlias",
        ),
        pytest.param(
            worker("h"),
            config("Host *\n UserKnownHostsFile none"),
            {"known_hosts": ()},
            id="no known_hosts",
        ),
        pytest.param(
            worker("proxied", user="me", port=2022),
            config(),
            {"via": "connect target 2022 as me for proxied, 100%"},
            id="ProxyCommand",
        ),
    ],
)
def test_what_decides(asked: Worker, fab: fabric.Config, expected: dict[str, object]) -> None:
    found = endpoint_of(asked, fab)
    assert {name: getattr(found, name) for name in expected} == expected


def chain(endpoint: Endpoint) -> list[str]:
    """The hops as a person would list them, the first to be dialled first."""
    names = [f"{endpoint.user}@{endpoint.host}:{endpoint.port}"]
    while isinstance(endpoint.via, Endpoint):
        endpoint = endpoint.via
        names.insert(0, f"{endpoint.user}@{endpoint.host}:{endpoint.port}")
    return names


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        pytest.param(
            worker("jumped"),
            ["ubuntu@outer:2201", "me@inner:22", "ubuntu@jumped:22"],
            id="ProxyJump of two hops, in their order",
        ),
        pytest.param(
            worker("10.0.0.1", gateway="a@one:1,inner,[fe80::1]:3"),
            ["a@one:1", "insider@inner:22", "ubuntu@fe80::1:3", "ubuntu@10.0.0.1:22"],
            id="gateway of three hops",
        ),
        pytest.param(
            worker("jumped", gateway="alias"),
            ["deploy@10.0.0.9:2200", "ubuntu@jumped:22"],
            id="the worker's gateway wins over ProxyJump",
        ),
        pytest.param(
            worker("10.0.0.1", gateway="jumped"),
            ["ubuntu@outer:2201", "me@inner:22", "ubuntu@jumped:22", "ubuntu@10.0.0.1:22"],
            id="a gateway that needs gateways",
        ),
        pytest.param(
            worker("everything.else"),
            ["ubuntu@bastion:22", "ubuntu@everything.else:22"],
            id="a wildcard that names itself",
        ),
    ],
)
def test_the_way_through_gateways(asked: Worker, expected: list[str]) -> None:
    assert chain(endpoint_of(asked, config())) == expected


def test_a_gateway_is_checked_like_its_worker() -> None:
    found = endpoint_of(
        worker("w1", gateway="gate", host_keys="strict", known_hosts="/kh"), config()
    )
    assert isinstance(found.via, Endpoint)
    assert (found.via.host_keys, found.via.known_hosts) == ("strict", ("/kh",))


def test_two_names_of_one_endpoint_share_its_connection() -> None:
    one = endpoint_of(Worker("one", address="10.0.0.1"), config())
    two = endpoint_of(Worker("two", address="10.0.0.1"), config())
    assert one == two
    assert hash(one) == hash(two)


@pytest.mark.parametrize("text", ["Port many", "ProxyJump a b", "ProxyCommand nc %x"])
def test_what_cannot_be_read_is_bad_input(text: str) -> None:
    with pytest.raises(InventoryError, match="w: how to reach it cannot be read"):
        endpoint_of(worker("h"), config(f"Host *\n {text}"))


def test_finding_the_way_does_not_change_the_configuration() -> None:
    shared = config(connect_kwargs={"key_filename": ["/from-i"]})
    for _ in range(3):
        endpoint_of(worker("alias"), shared)
    assert shared.connect_kwargs.key_filename == ["/from-i"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh" / "conf.d").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("separator", ["\t", "  ", " \t= ", "="], ids=repr)
def test_include_and_host_may_be_written_as_openssh_reads_them(home: Path, separator: str) -> None:
    (home / ".ssh" / "config").write_text(
        f"\tHost{separator}w1\n  Include{separator}a=b\n  Port 2201\nHost *\n  User other\n"
    )
    (home / ".ssh" / "a=b").write_text("User included\n")
    found = endpoint_of(worker("w1"), fabric.Config())
    assert (found.user, found.port) == ("included", 2201)
    assert endpoint_of(worker("w2"), fabric.Config()).user == "other"


def test_include_is_followed(home: Path) -> None:
    ssh = home / ".ssh"
    (ssh / "config").write_text(
        "Include conf.d/*.conf\nHost other\n  Include inside\n  User other\nHost w1\n  Port 2201\n"
    )
    (ssh / "conf.d" / "a.conf").write_text("Host w1\n  User from-a\n")
    (ssh / "conf.d" / "b.conf").write_text("Include deeper\nHost w1\n  User too-late\n")
    (ssh / "deeper").write_text("Host w1\n  HostName 10.1.1.1\n")
    (ssh / "inside").write_text("Port 2299\n")
    found = endpoint_of(worker("w1"), fabric.Config())
    assert (found.user, found.host, found.port) == ("from-a", "10.1.1.1", 2201)
    other = endpoint_of(worker("other"), fabric.Config())
    assert (other.user, other.port) == ("other", 2299)
