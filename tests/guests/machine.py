"""A QEMU of the test's own, started without vmops: to know a guest before vmops is tried on it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_POLL_S = 0.01
_END_S = 10


class DeadlineExceeded(AssertionError):
    """What was waited for did not happen in time."""


def wait_until(happened: Callable[[], bool], what: str, *, timeout: float) -> float:
    """Seconds until `happened()` was true. Raises DeadlineExceeded after `timeout` seconds."""
    start = time.monotonic()
    while not happened():
        if time.monotonic() - start > timeout:
            raise DeadlineExceeded(f"no {what} within {timeout} s")
        time.sleep(_POLL_S)
    return time.monotonic() - start


def nic(own: Path, peer: Path, *, mac: str, model: str = "e1000") -> list[str]:
    """QEMU's options for a card whose wire is two UNIX datagram sockets, its own and the peer's.

    Each datagram is one Ethernet frame.
    """
    name = "nic" + mac.replace(":", "")
    local, remote = f"local.type=unix,local.path={own}", f"remote.type=unix,remote.path={peer}"
    netdev = f"dgram,id={name},{local},{remote}"
    return ["-netdev", netdev, "-device", f"{model},netdev={name},mac={mac}"]


class Machine:
    """A guest under TCG, from the start of a `with` block to its end, when QEMU is killed.

    The directory, which is made, keeps QEMU's files; the image is never written to. `started` is
    the monotonic clock at the start, in seconds.
    """

    def __init__(
        self, directory: Path, image: Path, *, memory_mb: int, options: Sequence[str] = ()
    ) -> None:
        directory.mkdir()
        self._directory = directory
        argv = ["qemu-system-x86_64", "-accel", "tcg", "-m", str(memory_mb), "-smp", "1"]
        argv += ["-drive", f"file={image},format=qcow2,snapshot=on", "-nic", "none"]
        argv += ["-display", "none", "-serial", "stdio", "-monitor", "none"]
        argv += ["-qmp", "unix:qmp,server=on,wait=off"]
        with self._serial.open("wb") as serial, self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*argv, *options],
                cwd=directory,
                stdin=subprocess.PIPE,
                stdout=serial,
                stderr=errors,
            )
        self.started = time.monotonic()

    @property
    def _serial(self) -> Path:
        return self._directory / "serial"

    @property
    def _errors(self) -> Path:
        return self._directory / "errors"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.communicate(timeout=_END_S)

    @property
    def printed(self) -> str:
        """All that the guest wrote to its serial port so far."""
        return self._serial.read_bytes().decode(errors="replace")

    def wait_for(self, text: str, *, timeout: float) -> float:
        """Seconds until `text` is among what the guest printed.

        Raises DeadlineExceeded, and AssertionError when QEMU ends; both with what was printed.
        """

        def seen() -> bool:
            # Asked first: what a guest prints last must be found when QEMU has ended.
            code = self.process.poll()
            if text in self.printed:
                return True
            said = self._errors.read_text(errors="replace")
            assert code is None, f"QEMU ended with {code}: {said} The guest: {self.printed!r}"
            return False

        try:
            return wait_until(seen, repr(text), timeout=timeout)
        except DeadlineExceeded as error:
            raise DeadlineExceeded(f"{error}; the guest printed {self.printed!r}") from None

    def wait_off(self, *, timeout: float) -> float:
        """Seconds until QEMU ended by itself. Raises DeadlineExceeded."""
        return wait_until(lambda: self.process.poll() is not None, "power-off", timeout=timeout)

    def type(self, text: str) -> None:
        """Type on the serial port."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def ask(self, command: str, **arguments: object) -> object:
        """QEMU's answer to one QMP command. Raises what qemu.qmp raises."""
        from qemu.qmp.legacy import QEMUMonitorProtocol

        monitor = QEMUMonitorProtocol(str(self._directory / "qmp"))
        try:
            monitor.settimeout(_END_S)
            monitor.connect()
            return monitor.cmd(command, **arguments)
        finally:
            with suppress(EOFError, OSError):  # it may have ended by what was asked
                monitor.close()

    def press(self, key: str) -> None:
        """Press a key of the keyboard, by QEMU's name of it, and let it go."""
        self.ask("send-key", keys=[{"type": "qcode", "data": key}])

    def screen(self) -> bytes:
        """The picture on the screen, in the form PPM."""
        picture = self._directory / "screen.ppm"
        self.ask("screendump", filename=str(picture))
        return picture.read_bytes()
