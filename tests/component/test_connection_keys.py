"""Which keys and passwords a login offers, in which order, and what is said where none will do."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import fabric
import paramiko
import pytest

from vmops.errors import LoginRefused
from vmops.remote.ssh.connection import connection
from vmops.wait import wait_for

from .conftest import with_login, write_key
from .fake_worker import FakeWorker


class TestLogin:
    def test_with_the_workers_identity_file(self, start: Start, home: Path) -> None:
        write_key(home / "own")
        fake = start(keys=[paramiko.PKey.from_path(home / "own")])
        connection(fake.worker(identity_file=str(home / "own")), config=fabric.Config())
        assert fake.logins == ["root"]

    def test_with_a_key_found_in_the_home(self, start: Start, home: Path) -> None:
        (home / ".ssh").mkdir()
        write_key(home / ".ssh" / "id_ed25519")
        fake = start(keys=[paramiko.PKey.from_path(home / ".ssh" / "id_ed25519")])
        connection(fake.worker(), config=fabric.Config())
        assert fake.logins == ["root"]

    def test_with_a_password(self, start: Start) -> None:
        fake = start(password="correct horse")
        worker = fake.worker(user="somebody")
        connection(worker, config=with_login(password="correct horse"))
        assert fake.logins == ["somebody"]

    def test_with_a_key_that_has_a_passphrase(self, start: Start, home: Path) -> None:
        key = write_key(home / "locked", "open sesame")
        fake = start(keys=[key])
        login = with_login(key_filename=[str(home / "locked")], passphrase="open sesame")
        connection(fake.worker(), config=login)
        assert fake.logins == ["root"]

    def test_a_passphrase_that_does_not_fit(self, start: Start, home: Path) -> None:
        write_key(home / "locked", "open sesame")
        login = with_login(key_filename=[str(home / "locked")], passphrase="close sesame")
        with pytest.raises(LoginRefused, match="the passphrase does not open it"):
            connection(start().worker(), config=login)

    def test_with_a_key_and_a_password_on_top(self, start: Start, identity: Path) -> None:
        fake = start(needs_both=True, password="secret")
        login = with_login(key_filename=[str(identity)], password="secret")
        connection(fake.worker(), config=login)
        assert fake.logins == ["root"]

    def test_a_refusal_says_what_was_offered(self, start: Start, home: Path) -> None:
        fake = start()
        key = write_key(home / "wrong")
        write_key(home / "locked", "open sesame")
        files = [str(home / name) for name in ("wrong", "locked", "missing")]
        login = with_login(key_filename=files, password="no")
        with pytest.raises(LoginRefused) as caught:
            connection(fake.worker(user="me"), config=login)
        said = str(caught.value)
        for word in (
            "w1: 127.0.0.1 refused the login of me",
            f"{home}/wrong ({key.fingerprint})",
            f"{home}/locked (cannot be read: the passphrase does not open it)",
            f"{home}/missing (no such file)",
            "the password",
        ):
            assert word in said
        assert fake.logins == []

    def test_nothing_to_offer(self, start: Start) -> None:
        with pytest.raises(LoginRefused, match="nothing: no key, no agent, no password"):
            connection(start().worker(), config=fabric.Config())


Start = Callable[..., FakeWorker]
Add = Callable[..., None]


@pytest.fixture
def agent(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Add]:
    """A real ssh-agent; call it with key files, which are made where there are none."""
    address = home / "agent"
    monkeypatch.setenv("SSH_AUTH_SOCK", str(address))

    def add(*files: Path) -> None:
        for file in files:
            if not file.exists():
                write_key(file)
            subprocess.run(["ssh-add", "-q", file], check=True)

    with subprocess.Popen(["ssh-agent", "-D", "-a", address], stdout=subprocess.DEVNULL) as process:
        assert wait_for(lambda: address.exists() or None, 5)
        yield add
        process.terminate()


def lock(file: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-p", "-f", file, "-N", "open sesame"], check=True)


def only_these(home: Path, *files: Path) -> None:
    """An ssh_config with IdentitiesOnly and these identity files."""
    (home / ".ssh").mkdir(exist_ok=True)
    lines = ["Host *", "  IdentitiesOnly yes", *(f"  IdentityFile {file}" for file in files)]
    (home / ".ssh" / "config").write_text("\n".join(lines) + "\n")


class TestIdentitiesOnly:
    def test_without_a_file_means_the_usual_ones(self, start: Start, home: Path) -> None:
        only_these(home)
        fake = start(keys=[write_key(home / ".ssh" / "id_ed25519")])
        connection(fake.worker(), config=fabric.Config())
        assert fake.logins == ["root"]

    def test_with_a_file_leaves_the_usual_ones_alone(self, start: Start, home: Path) -> None:
        only_these(home, home / "named")
        write_key(home / "named")
        fake = start(keys=[write_key(home / ".ssh" / "id_ed25519")])
        with pytest.raises(LoginRefused):
            connection(fake.worker(), config=fabric.Config())
        assert fake.offers == 1

    @pytest.mark.parametrize("known_by", ["itself", ".pub", "named .pub"])
    def test_a_key_that_only_the_agent_can_use(
        self, start: Start, home: Path, agent: Add, known_by: str
    ) -> None:
        file = home / "locked"
        key = write_key(file)
        agent(home / "another", file)
        if known_by == "itself":
            lock(file)
        else:
            (home / "locked.pub").write_text(f"{key.get_name()} {key.get_base64()} me\n")
            file.unlink()
        only_these(home, home / "locked.pub" if known_by == "named .pub" else file)
        fake = start(keys=[key])
        connection(fake.worker(), config=fabric.Config())
        assert fake.logins == ["root"]
        assert fake.offers == 1, "the agent's other key is none of these"

    def test_a_locked_file_that_the_agent_does_not_have(
        self, start: Start, home: Path, agent: Add
    ) -> None:
        agent(home / "another")
        write_key(home / "locked", "open sesame")
        only_these(home, home / "locked")
        with pytest.raises(LoginRefused, match="locked: use --prompt-for-passphrase"):
            connection(start().worker(), config=fabric.Config())


def test_the_agents_key_of_a_locked_file_comes_first_and_once(
    start: Start, home: Path, agent: Add
) -> None:
    file = home / "locked"
    key = write_key(file)
    agent(home / "another", file)
    lock(file)
    fake = start()
    with pytest.raises(LoginRefused) as caught:
        connection(fake.worker(identity_file=str(file)), config=fabric.Config())
    assert fake.offers == 2
    assert f"offered: {file} by the agent ({key.fingerprint}), the agent (" in str(caught.value)
