"""What commands about processes, disks and run directories mean."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from vmops.core.devices import machine
from vmops.core.devices.disk import is_missing, unobjectionable
from vmops.core.names import RUN_ROOT

from .parts import Directory, Failed, Qemu, need

if TYPE_CHECKING:
    from .worker import Simulated


def _ls(w: Simulated, words: list[str], _: str) -> None:
    names = [word.removeprefix("/sys/class/net/") for word in words[1:]]
    need(all(name in w.taps for name in names), "No such file or directory")


def _test(w: Simulated, words: list[str], _: str) -> None:
    assert words[:2] == ["!", "-e"], words
    need(words[2].removeprefix(f"{RUN_ROOT}/") not in w.directories, "there is one")


def _not_running(w: Simulated, words: list[str], _: str) -> None:
    need(w.vm(words[0]).process is None, "it runs")


def _still_running(w: Simulated, words: list[str], _: str) -> None:
    found = w.vm(words[0]).process
    need(found and [str(found.pid), str(found.started)] == words[1:3], "another one runs, or none")


def _not_replaced(w: Simulated, words: list[str], _: str) -> None:
    found = w.directories.get(words[0], Directory())
    pid = found.record or found.pidfile
    need(pid is None or str(pid) == words[1], "another one")


def _same_remains(w: Simulated, words: list[str], _: str) -> None:
    found = w.directories.get(words[0], Directory())
    need(words[1] in (str(found.record), str(found.pidfile)), "another one left it")


def _is(w: Simulated, pid: str, started: str) -> bool:
    found = w.processes.get(int(pid))
    return found is not None and found.started == int(started)


def _note_end(w: Simulated, words: list[str], _: str) -> None:
    found = w.directories.get(words[0])
    if found is not None and found.record:
        found.ended = True


def _end_process(w: Simulated, words: list[str], _: str) -> str:
    pid, started, signal, _limit = words[1:]
    if not _is(w, pid, started):
        return ""
    _still_running(w, words, "")
    _note_end(w, words, "")
    found = w.processes[int(pid)]
    if not found.vm:
        w.wrong.append(f"a foreign process got SIG{signal}")
    need(signal == "KILL" or not (found.held or found.deaf), "still there")
    w.ends(int(pid), cleanly=signal == "TERM")
    return f"SIG{signal}\n"


def _await_end(w: Simulated, words: list[str], _: str) -> None:
    need(not _is(w, words[0], words[1]), "still there")


def _talk(w: Simulated, _: list[str], stdin: str) -> None:
    """Its guest powers off when the button is pressed, QEMU quits when it is told to, and disks
    come and go."""
    vm = stdin.split(" ")[1]
    found = w.vm(vm).process
    need(found, "no socket")
    assert found is not None
    qemu = w.processes[found.pid]
    need(qemu.listens, "busy")
    if '"system_powerdown"' in stdin or '"quit"' in stdin:
        w.ends(found.pid, cleanly=True)
    for line in stdin.split("\n")[1:]:
        what, rest = [*line.split(" ", 1), ""][:2]
        if what == "lack":
            nodes = [f'"node-name": "disk-{name}"' for name in qemu.disks]
            need(bytes.fromhex(rest).decode() not in nodes, "other")
        elif what == "say":
            _of_drives(w, qemu, json.loads(rest))


def _of_drives(w: Simulated, qemu: Qemu, request: dict[str, Any]) -> None:
    given = request.get("arguments", {})
    name = str(given.get("node-name", given.get("id", ""))).removeprefix("disk-")
    if request["execute"] == "blockdev-add":
        need(name not in qemu.disks, "Duplicate nodes")
        path = f"/home/ubuntu/vm_images/.vmops/disk-{qemu.vm}-{name}.{given['driver']}"
        qemu.disks[name] = path
        _need_file(w, path)
    elif request["execute"] == "device_add":
        need(name in qemu.disks and name not in qemu.cards, "there is such a card")
        qemu.cards.add(name)
    elif request["execute"] == "device_del":
        need(name in qemu.cards, "DeviceNotFound")
        need(not qemu.stubborn, "silent")
        qemu.cards.remove(name)
    elif request["execute"] == "blockdev-del":
        need(name in qemu.disks, "Failed to find node")
        need(name not in qemu.cards, "is in use")
        del qemu.disks[name]
    else:
        known = ("query-named-block-nodes", "remove-fd", "system_powerdown", "query-status", "quit")
        assert request["execute"] in known, f"what does {request['execute']} mean?"


def _take_back(w: Simulated, words: list[str], stdin: str) -> None:
    try:
        MEANINGS[words[0]](w, words[1:], stdin)
    except Failed as failed:
        need(str(failed) in ("DeviceNotFound", "Failed to find node"), str(failed))


def _with_files(w: Simulated, words: list[str], stdin: str) -> None:
    MEANINGS[words[0]](w, words[1:], stdin)


def _unless_file_open(w: Simulated, words: list[str], stdin: str) -> None:
    pid, path, command, *rest = words
    found = w.processes.get(int(pid))
    need(found is None or path not in found.disks.values(), "still open")
    MEANINGS[command](w, rest, stdin)


def _is_there(w: Simulated, path: str) -> bool:
    return not is_missing(w.images.get(path))


def _need_file(w: Simulated, path: str) -> None:
    need(_is_there(w, path.replace("/home/ubuntu", "~")), "No such file")


def _make_disk(w: Simulated, words: list[str], _: str) -> None:
    format, path, size = words
    _no_disk(w, [path], "")
    (image,) = unobjectionable(path, format)
    w.images[path] = (image._replace(virtual_size=int(size)),)


def _no_disk(w: Simulated, words: list[str], _: str) -> None:
    need(not _is_there(w, words[0]), "there is one")


def _remove_disk(w: Simulated, words: list[str], _: str) -> None:
    path = words[0].replace("~", "/home/ubuntu")
    if any(path in qemu.disks.values() for qemu in w.processes.values()):
        w.wrong.append(f"{path} went under a running QEMU")
    w.images.pop(words[0], None)


def _make_run_directory(w: Simulated, words: list[str], _: str) -> None:
    need(words[0] not in w.directories, "File exists")
    w.directories[words[0]] = Directory()


def _bring_seed(w: Simulated, words: list[str], _: str) -> None:
    need(words[0] in w.directories, "No such file or directory")
    w.directories[words[0]].seed = words[2]


def _remove_run_directory(w: Simulated, words: list[str], _: str) -> None:
    if w.vm(words[0]).process is not None:
        w.wrong.append(f"the run directory of {words[0]} was removed while it runs")
    w.directories.pop(words[0], None)


def _end_left(w: Simulated, words: list[str], _: str) -> None:
    used = {tap for qemu in w.processes.values() for tap in qemu.taps}
    need(not used & set(words[1:]), "a process that vmops did not start uses its TAP")


def _abandon(w: Simulated, words: list[str], stdin: str) -> None:
    found = w.vm(words[0]).process
    if found is not None:
        w.ends(found.pid, cleanly=False)
    _remove_run_directory(w, words, stdin)


def _start_qemu(w: Simulated, words: list[str], _: str) -> None:
    vm, argv = words[0], tuple(words[3:])
    line = machine.parse(argv)
    screens = {machine.parse(qemu.argv).screen.port for qemu in w.processes.values()}
    used = {tap for qemu in w.processes.values() for tap in qemu.taps}
    taps = tuple(nic.tap for nic in line.nics)
    need(vm in w.directories, "cannot create its pidfile")
    need(w.vm(vm).process is None, "its pidfile is locked")
    need(line.screen.port not in screens, "Address already in use")
    need(not used & set(taps), "Device or resource busy")
    w.wrong += [f"QEMU makes a TAP {tap} of its own" for tap in taps if tap not in w.taps]
    for each in line.disks:
        _need_file(w, each.path)
    disks = {each.name: each.path for each in line.disks}
    pid = w.begins(Qemu(w.clock, argv, taps, vm=vm, disks=disks, cards=set(disks)))
    w.directories[vm].pidfile = pid


def _record_process(w: Simulated, words: list[str], stdin: str) -> None:
    _of_running(w, words, stdin)
    w.directories[words[0]].record = w.directories[words[0]].pidfile


def _of_running(w: Simulated, words: list[str], _: str) -> None:
    need(w.vm(words[0]).process, "QEMU has ended")


def _report_process(w: Simulated, words: list[str], stdin: str) -> str:
    _of_running(w, words, stdin)
    found = w.vm(words[0]).process
    assert found is not None
    return f"{found.pid} {found.started}\n"


def _nothing(w: Simulated, words: list[str], stdin: str) -> None:
    """It looks, or changes nothing that matters here."""


MEANINGS: dict[str, Any] = {
    "ls": _ls,
    "test": _test,
    "not_running": _not_running,
    "still_running": _still_running,
    "not_replaced": _not_replaced,
    "same_remains": _same_remains,
    "end_process": _end_process,
    "note_end": _note_end,
    "record_process": _record_process,
    "await_end": _await_end,
    "talk_to_monitors": _talk,
    "take_back": _take_back,
    "with_files": _with_files,
    "unless_file_open": _unless_file_open,
    "make_disk": _make_disk,
    "no_disk": _no_disk,
    "remove_disk": _remove_disk,
    "make_run_directory": _make_run_directory,
    "bring_seed": _bring_seed,
    "remove_run_directory": _remove_run_directory,
    "abandon": _abandon,
    "start_qemu": _start_qemu,
    "open_sockets": _of_running,
    "sound_images": _nothing,
    "end_left": _end_left,
    "memory_is": _nothing,
    "mark_is": _nothing,
    "print_log": _nothing,
    "report_process": _report_process,
}
