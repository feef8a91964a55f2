"""Debian packages, fetched by apt, kept in the cache and unpacked; nothing is installed."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .tools import GuestBuildError, run


@dataclass(frozen=True, slots=True)
class Packages:
    """Fetched packages. The newest one that apt knew of when it was fetched stays in `folder`."""

    folder: Path

    def first(self, names: str) -> str:
        """The one of `NAME|NAME` that apt has; the last where it has none."""
        *others, last = names.split("|")
        return next((name for name in others if _has_candidate(name)), last)

    def unpack(self, package: str, into: Path, *patterns: str) -> None:
        """Unpack `package` into a directory: the whole of it, or what matches the tar patterns.

        Raises GuestBuildError when apt does not know the package or cannot fetch it, and when a
        pattern matches nothing.
        """
        archive = self._fetched(package)
        into.mkdir(exist_ok=True)
        with subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE
        ) as listing:
            done = subprocess.run(
                ["tar", "-x", "--no-same-owner", "-C", str(into), "--wildcards", *patterns],
                stdin=listing.stdout,
                stderr=subprocess.PIPE,
                check=False,
            )
        if done.returncode or listing.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise GuestBuildError(f"cannot unpack {archive.name} (dpkg-deb | tar): {said}")

    def _fetched(self, package: str) -> Path:
        for archive in self.folder.glob(f"{package}_*.deb"):
            return archive
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=self.folder) as work:
            # As root, apt would first try as user _apt, who cannot write here, and warn.
            options = ("-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3")
            run("apt-get", *options, "download", package, cwd=Path(work))
            (fetched,) = Path(work).glob("*.deb")
            return fetched.replace(self.folder / fetched.name)


def _has_candidate(package: str) -> bool:
    listing = run("apt-cache", "policy", package).decode()
    return "Candidate: " in listing and "Candidate: (none)" not in listing


def newest_kernel() -> str:
    """The package of the kernel that `linux-image-amd64` stands for, in its unsigned form."""
    listing = run("apt-cache", "depends", "linux-image-amd64").decode()
    found = re.search(r"Depends: (linux-image-\S+)", listing)
    if found is None:
        raise GuestBuildError("apt knows no kernel behind linux-image-amd64; cure: apt-get update")
    return f"{found[1]}-unsigned"
