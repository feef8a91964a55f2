"""Certificates of hosts and of users at a real sshd: what ssh takes, we take, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vmops.errors import HostKeyRefused

from .logins import home, log_in, sshd, written
from .sshd import ME, Sshd, keygen, new_key, public, running, ssh_logs_in

__all__ = ["home", "sshd"]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a host's key and those that may sign it."""
    folder = tmp_path_factory.mktemp("signed")
    for name in ("ca", "host_key", "rsa_ca", "foreign"):
        new_key(folder / name, "rsa" if name == "rsa_ca" else "ed25519")
    return folder


@contextmanager
def signed(keys: Path, authority: str, *words: str) -> Iterator[Sshd]:
    """One that shows a certificate: since OpenSSH 9.8 it reads that at its start."""
    keygen("-s", keys / authority, "-h", "-I", "x", *words, keys / "host_key.pub")
    with running(keys, f"HostCertificate {keys}/host_key-cert.pub") as found:
        yield found


class TestHostCertificates:
    @pytest.mark.parametrize(
        ("authority", "words", "gets_in"),
        [
            ("ca", ["-n", "w1"], True),
            ("rsa_ca", ["-n", "w1"], True),
            ("ca", ["-n", "other,w1"], True),
            ("ca", ["-n", "w*"], False),
            ("ca", ["-n", "other"], False),
            ("ca", ["-n", "w1", "-V", "-2d:-1d"], False),
            ("ca", ["-n", "w1", "-V", "+1d:+2d"], False),
            ("foreign", ["-n", "w1"], False),
        ],
    )
    def test_one_that_holds_suffices(
        self, home: Path, keys: Path, authority: str, words: list[str], gets_in: bool
    ) -> None:
        text = "".join(f"@cert-authority w* {public(keys / ca)}\n" for ca in ("ca", "rsa_ca"))
        with signed(keys, authority, *words) as sshd:
            config = written(home, sshd, "StrictHostKeyChecking yes\n HostKeyAlias w1")
            (home / "known_hosts").write_text(text)
            assert ssh_logs_in(config) is gets_in
            if gets_in:
                assert log_in(config).is_connected
            else:
                with pytest.raises(HostKeyRefused, match="is not known"):
                    log_in(config)

    def test_a_revoked_authority(self, home: Path, keys: Path) -> None:
        with signed(keys, "ca", "-n", "w1") as sshd:
            config = written(home, sshd, "StrictHostKeyChecking yes\n HostKeyAlias w1")
            ca = public(keys / "ca")
            (home / "known_hosts").write_text(f"@cert-authority * {ca}\n@revoked * {ca}\n")
            assert not ssh_logs_in(config)
            with pytest.raises(HostKeyRefused):
                log_in(config)


class TestCertificates:
    @pytest.mark.parametrize("kind", ["expired", "foreign", "of another key", "empty", "rubbish"])
    def test_a_useless_one_beside_a_good_key(self, home: Path, sshd: Sshd, kind: str) -> None:
        key = home / "key"
        for end in ("", ".pub"):
            Path(f"{key}{end}").write_text(Path(f"{sshd.key}{end}").read_text())
        key.chmod(0o600)
        certificate = home / "key-cert.pub"
        sign = ("-I", "x", "-n", ME)
        if kind == "expired":
            keygen("-s", sshd.folder / "ca", *sign, "-V", "-2d:-1d", f"{key}.pub")
        elif kind == "foreign":
            keygen("-s", new_key(home / "foreign"), *sign, f"{key}.pub")
        elif kind == "of another key":
            keygen("-s", sshd.folder / "ca", *sign, f"{new_key(home / 'other')}.pub")
            (home / "other-cert.pub").rename(certificate)
        else:
            certificate.write_text("" if kind == "empty" else "ssh-rsa !!! x\n")
        config = written(home, sshd, "", key=key)
        assert ssh_logs_in(config)
        assert log_in(config).is_connected

    @pytest.mark.parametrize("place", ["beside", "CertificateFile"])
    @pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
    def test_a_good_one_opens_for_a_key_that_is_not_authorized(
        self, home: Path, sshd: Sshd, place: str, kind: str
    ) -> None:
        key = new_key(home / "mine", kind)
        keygen("-s", sshd.folder / "ca", "-I", "x", "-n", ME, f"{key}.pub")
        text = ""
        if place == "CertificateFile":
            (home / "mine-cert.pub").rename(home / "elsewhere")
            text = f"CertificateFile {home}/elsewhere"
        config = written(home, sshd, text, key=key)
        assert ssh_logs_in(config)
        assert log_in(config).is_connected
