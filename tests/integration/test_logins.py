"""Logins at a real sshd: where ssh gets in, so do we, and where it refuses, we do."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fabric
import pytest

from vmops.core.inventory.model import Worker
from vmops.errors import HostKeyRefused, LoginRefused, WorkerUnreachable
from vmops.remote.ssh.connection import close_all, connection

from .logins import home, log_in, printed, sshd, written
from .sshd import HERE, ME, Sshd, keygen, new_key, public, running, ssh_logs_in

__all__ = ["home", "sshd"]


class TestHostKeys:
    @pytest.mark.parametrize(
        ("file", "text"),
        [
            ("kh/127.0.0.1", "UserKnownHostsFile {home}/kh/%h"),
            ("kh/w1", "UserKnownHostsFile {home}/kh/%k"),
            ("kh/lab", "HostKeyAlias Lab\n UserKnownHostsFile {home}/kh/%k"),
            ("kh/%", "UserKnownHostsFile {home}/kh/%%"),
            ("kh/it", "UserKnownHostsFile ${{LAB_FOLDER}}/kh/it"),
            ("k h/it", 'UserKnownHostsFile "{home}/k h/it"'),
            ("k h/it", "UserKnownHostsFile {home}/empty '{home}/k h/it'"),
            ("kh/it", "GlobalKnownHostsFile {home}/kh/it"),
            ("kh/second", "UserKnownHostsFile {home}/kh/first {home}/kh/second"),
        ],
    )
    def test_a_changed_key_is_refused_wherever_the_known_one_stands(
        self, home: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch, file: str, text: str
    ) -> None:
        monkeypatch.setenv("LAB_FOLDER", str(home))
        other = new_key(home / "other")
        (home / file).parent.mkdir(exist_ok=True)
        names = f"[{HERE}]:{sshd.port},lab,[lab]:{sshd.port}"
        (home / file).write_text(f"{names} {public(other)}\n")
        config = written(home, sshd, text.format(home=home))
        before = sorted(home.rglob("*"))
        assert not ssh_logs_in(config)
        with pytest.raises(HostKeyRefused, match=f"has changed: {home}/{file}:1"):
            log_in(config)
        assert sorted(home.rglob("*")) == before

    def test_strict_in_ssh_config_adds_nothing(self, home: Path, sshd: Sshd) -> None:
        config = written(home, sshd, "StrictHostKeyChecking yes")
        assert not ssh_logs_in(config)
        with pytest.raises(HostKeyRefused, match='host_keys is "strict"'):
            log_in(config)
        assert (home / "known_hosts").read_text() == ""

    def test_a_no_in_ssh_config_makes_nothing_laxer(self, home: Path, sshd: Sshd) -> None:
        config = written(home, sshd, "StrictHostKeyChecking no")
        (home / "known_hosts").write_text(f"[{HERE}]:{sshd.port} {public(new_key(home / 'o'))}\n")
        with pytest.raises(HostKeyRefused, match="has changed"):
            log_in(config)

    def test_a_revoked_key_is_refused(self, home: Path, sshd: Sshd) -> None:
        (home / "revoked").write_text(f"# ours\n{public(sshd.host_key)}\n")
        config = written(home, sshd, f"RevokedHostKeys {home}/revoked")
        (home / "known_hosts").write_text(sshd.known_line)
        assert not ssh_logs_in(config)
        with pytest.raises(HostKeyRefused, match=f"is revoked in {home}/revoked"):
            log_in(config)

    @pytest.mark.parametrize("content", ["krl", "missing"])
    def test_a_list_of_revoked_keys_that_cannot_be_read(
        self, home: Path, sshd: Sshd, content: str
    ) -> None:
        if content == "krl":
            keygen("-k", "-f", home / "revoked", f"{sshd.host_key}.pub")
        config = written(home, sshd, f"RevokedHostKeys {home}/revoked")
        assert not ssh_logs_in(config)
        with pytest.raises(HostKeyRefused, match=r"RevokedHostKeys .* cannot be read"):
            log_in(config)

    def test_another_list_of_revoked_keys_is_no_hindrance(self, home: Path, sshd: Sshd) -> None:
        (home / "revoked").write_text(public(new_key(home / "other")))
        config = written(home, sshd, f"RevokedHostKeys {home}/revoked")
        assert ssh_logs_in(config)
        assert log_in(config).is_connected

    def test_names_are_hashed_where_ssh_hashes_them(self, home: Path, sshd: Sshd) -> None:
        config = written(home, sshd, "HashKnownHosts yes")
        assert log_in(config).is_connected
        lines = (home / "known_hosts").read_text().splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("|1|")
        config.write_text(config.read_text().replace("accept-new", "yes"))
        assert ssh_logs_in(config)
        assert log_in(config).is_connected

    def test_another_key_of_its_address_is_refused(self, home: Path, sshd: Sshd) -> None:
        config = written(home, sshd, "CheckHostIP yes\n HostKeyAlias lab")
        other = public(new_key(home / "other"))
        text = f"lab {public(sshd.host_key)}\n[{HERE}]:{sshd.port} {other}\n"
        (home / "known_hosts").write_text(text)
        with pytest.raises(HostKeyRefused, match="has another key for its address"):
            log_in(config)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_key_that_others_can_read_is_not_used(home: Path, sshd: Sshd, mode: int) -> None:
    key = home / "open"
    key.write_text(sshd.key.read_text())
    key.chmod(mode)
    config = written(home, sshd, "", key=key)
    assert not ssh_logs_in(config)
    with pytest.raises(LoginRefused, match=f"mode {mode:04o}: chmod 600 {key}"):
        log_in(config)


@pytest.fixture
def agent(home: Path, sshd: Sshd) -> Iterator[Path]:
    """A real agent that has the key."""
    path = home / "agent.sock"
    with subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL) as process:
        while not path.exists():
            time.sleep(0.01)
        environment = {**os.environ, "SSH_AUTH_SOCK": str(path)}
        subprocess.run(["ssh-add", "-q", sshd.key], check=True, env=environment)
        yield path
        process.terminate()


class TestAgent:
    @pytest.mark.parametrize(
        ("text", "gets_in"),
        [
            ("IdentityAgent {agent}", True),
            ("IdentityAgent ~/agent.sock", True),
            ("IdentityAgent $LAB_AGENT", True),
            ("IdentityAgent ${{LAB_AGENT}}", True),
            ("IdentityAgent SSH_AUTH_SOCK", True),
            ("IdentityAgent none", False),
            ("IdentityAgent /nowhere", False),
        ],
    )
    def test_which_one_is_asked(
        self,
        home: Path,
        sshd: Sshd,
        agent: Path,
        monkeypatch: pytest.MonkeyPatch,
        text: str,
        gets_in: bool,
    ) -> None:
        monkeypatch.setenv("LAB_AGENT", str(agent))
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        text = text.format(agent=agent) + "\n IdentitiesOnly no"
        config = written(home, sshd, text, key=home / "none")
        if "~" not in text:  # ssh takes that from the passwd entry
            assert ssh_logs_in(config) is gets_in
        if gets_in:
            assert log_in(config).is_connected
        else:
            with pytest.raises(LoginRefused):
                log_in(config)

    @pytest.mark.parametrize("behaviour", ["silent", "two bytes", "hangs up", "boasts"])
    def test_one_that_is_of_no_use_costs_seconds_at_most(
        self, home: Path, sshd: Sshd, behaviour: str
    ) -> None:
        path = home / "agent.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        kept = []

        def serve() -> None:
            while True:
                caller, _ = listener.accept()
                kept.append(caller)
                if behaviour == "two bytes":
                    caller.sendall(b"\0\0")
                elif behaviour == "boasts":
                    caller.sendall(b"\xff\xff\xff\xff\x0c")
                elif behaviour == "hangs up":
                    caller.close()

        threading.Thread(target=serve, daemon=True).start()
        text = f"IdentityAgent {path}\n IdentitiesOnly no\n ConnectTimeout 2\n IdentityFile none"
        config = written(home, sshd, text)
        usual = home / ".ssh" / "id_ed25519"
        usual.parent.mkdir()
        usual.write_text(sshd.key.read_text())
        usual.chmod(0o600)
        config.write_text(config.read_text().replace(f" IdentityFile {sshd.key}\n", ""))
        config.write_text(config.read_text().replace(" IdentityFile none\n", "\n"))
        began = time.monotonic()
        assert log_in(config).is_connected
        assert time.monotonic() - began < 8

    def test_it_is_forwarded_where_ssh_config_says_so(
        self, home: Path, sshd: Sshd, agent: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
        assert "SHA256:" in printed(written(home, sshd, "ForwardAgent yes"), "ssh-add -l")
        close_all()
        assert "SHA256:" not in printed(written(home, sshd, "ForwardAgent no"), "ssh-add -l 2>&1")
        close_all()
        monkeypatch.setenv("LAB_AGENT", str(agent))
        monkeypatch.delenv("SSH_AUTH_SOCK")
        config = written(home, sshd, "ForwardAgent $LAB_AGENT")
        assert "SHA256:" in printed(config, "ssh-add -l; ssh-add -l")


def test_variables_go_along(home: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENT", "over there")
    monkeypatch.setenv("LAB_B", "not")
    config = written(home, sshd, 'SendEnv SENT LAB_B\n SendEnv -LAB_*\n SetEnv LAB_A="a b"')
    assert printed(config, "echo $SENT, $LAB_A, $LAB_B.") == "over there, a b, .\n"


def test_the_call_comes_from_where_ssh_config_says(home: Path, sshd: Sshd) -> None:
    config = written(home, sshd, "AddressFamily inet\n BindAddress 127.0.0.77")
    assert printed(config, "echo $SSH_CLIENT").startswith("127.0.0.77 ")
    close_all()
    config = written(home, sshd, "AddressFamily inet6")
    assert not ssh_logs_in(config)
    with pytest.raises(WorkerUnreachable):
        log_in(config)


def test_a_gateway_is_offered_the_workers_identity_file(home: Path, sshd: Sshd) -> None:
    config = home / "ssh_config"
    config.write_text("GlobalKnownHostsFile none\n")
    worker = Worker(
        "w1",
        address=HERE,
        port=sshd.port,
        user=ME,
        identity_file=str(sshd.key),
        gateway=f"{ME}@{HERE}:{sshd.port}",
        known_hosts=str(home / "kh"),
    )
    found = fabric.Config(runtime_ssh_path=str(config))
    assert connection(worker, config=found).is_connected


def test_a_proxy_command_asks_on_the_terminal(home: Path, sshd: Sshd) -> None:
    """As ssh's own question for the password of a gateway does."""
    gateway = written(home, sshd, "").rename(home / "gateway")
    proxy = home / "proxy"
    proxy.write_text(
        "#!/bin/sh\nprintf 'which way? ' >/dev/tty; read -r way </dev/tty\n"
        f'[ "$way" = this ] && exec ssh -F {gateway} -W {HERE}:{sshd.port} gateway\n'
    )
    proxy.chmod(0o755)
    config = written(home, sshd, f"ProxyCommand {proxy}")
    script = (
        "import fabric; from vmops.core.inventory.model import Worker;"
        "from vmops.remote.run import run;"
        f"config = fabric.Config(runtime_ssh_path={str(config)!r});"
        "print(run(Worker('w1', address='w1'), 'echo there', time_limit=9, config=config).stdout)"
    )
    ours, its = os.openpty()
    words = ["setsid", "-c", sys.executable, "-c", script]
    with subprocess.Popen(words, stdin=its, stdout=its, stderr=its):
        os.close(its)
        said = _read_until(ours, b"way? ")
        os.write(ours, b"this\n")
        said += _read_until(ours, b"there")
    os.close(ours)
    assert b"there" in said


def _read_until(terminal: int, word: bytes) -> bytes:
    said = b""
    while word not in said and select.select([terminal], [], [], 20)[0]:
        try:
            said += os.read(terminal, 1000)
        except OSError:  # nobody has it open any more
            break
    return said


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ("publickey,keyboard-interactive", "takes the key and then wants keyboard-interactive"),
        ("keyboard-interactive", "takes no key, but wants keyboard-interactive"),
    ],
)
def test_a_second_factor_is_named(home: Path, tmp_path: Path, methods: str, said: str) -> None:
    options = f"KbdInteractiveAuthentication yes\nUsePAM yes\nAuthenticationMethods {methods}"
    with (
        running(tmp_path / "two", options) as sshd,
        pytest.raises(LoginRefused, match=said) as caught,
    ):
        log_in(written(home, sshd, ""))
    assert "AuthenticationMethods publickey" in caught.value.cure
    assert "ssh-copy-id" not in caught.value.cure


def test_match_exec_runs_once_and_quietly(home: Path, sshd: Sshd) -> None:
    config = written(home, sshd, "")
    text = config.read_text()
    config.write_text(f'Match exec "echo x >>{home}/runs; echo noise >&2; cat; true"\n{text}')
    for _ in range(3):
        assert log_in(config).is_connected
    assert (home / "runs").read_text() == "x\n"
