"""What is there on a worker, as JSON. Runs inside it, with the standard library alone.

The words after the program are folders whose files are told with a hash of their contents.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

PORT = "name,_uuid,tag,trunks,vlan_mode,protected,external_ids,other_config"
INTERFACE = (
    "name,_uuid,type,options,ofport,error,mtu,mtu_request,admin_state,external_ids,other_config"
)
TALKING = ("agent1",)
"""VMs whose guests have an agent."""
AGENT_S = 10.0
NORTH = (
    *("Logical_Switch", "Logical_Switch_Port", "DHCP_Options", "DNS"),
    *("Logical_Router", "Logical_Router_Port", "Logical_Router_Policy"),
)
BRIDGE = "name,_uuid,ports,fail_mode,controller,datapath_type,external_ids,other_config"


def processes() -> list[dict[str, Any]]:
    """All but this one and its ancestors; zombies are only waiting for PID 1."""
    own, found = set(), []
    pid = os.getpid()
    while pid:
        own.add(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) in own - {1}:
            continue
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            words = (entry / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            if fields[0] not in "ZX":
                found.append(
                    {
                        "pid": int(entry.name),
                        "began": int(fields[19]),
                        "stopped": fields[0] == "T",
                        "argv": [word.decode(errors="replace") for word in words],
                    }
                )
    return found


def open_disks() -> dict[int, list[str]]:
    """The disks that each process has open."""
    found: dict[int, list[str]] = {}
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            path = descriptor.readlink()
            if path.suffix in (".qcow2", ".raw"):
                found.setdefault(int(descriptor.parts[2]), []).append(path.name)
    return found


def flocks() -> list[str]:
    """The files of /run that somebody holds by flock, as vmops holds its locks.

    From each open file: /proc/locks leaves out a lock when the `flock` that took it has ended.
    """
    found = set()
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            path = str(descriptor.readlink())
            if path.startswith("/run/"):
                info = descriptor.parents[1] / "fdinfo" / descriptor.name
                if " FLOCK " in info.read_text():
                    found.add(path)
    return sorted(found)


def links() -> dict[str, Any]:
    """Every link by its name, without what counts up by itself."""
    out = subprocess.run(
        ["ip", "-json", "-details", "link", "show"], capture_output=True, check=True
    )
    return {link["ifname"]: link for link in json.loads(out.stdout)}


def tables() -> dict[str, list[dict[str, Any]]]:
    """Ports, interfaces and bridges as OVSDB has them."""
    argv = ["ovs-vsctl", "--timeout=10", "--format=json"]
    for columns, table in ((PORT, "Port"), (INTERFACE, "Interface"), (BRIDGE, "Bridge")):
        argv += ["--", f"--columns={columns}", "list", table]
    return dict(zip(("port", "interface", "bridge"), rows_of(argv), strict=True))


def overlay() -> dict[str, Any]:
    """OVN's northbound tables, and where its southbound database listens; nothing without them."""
    if not Path("/run/ovn/ovnnb_db.sock").exists():
        return {"north": {}, "listens": []}
    argv = ["ovn-nbctl", "--timeout=10", "--format=json"]
    for table in NORTH:
        argv += ["--", "list", table]
    listens = said_by("ovn-sbctl", "--timeout=10", "get-connection").split()
    return {"north": dict(zip(NORTH, rows_of(argv), strict=True)), "listens": listens}


def rows_of(argv: list[str]) -> list[list[dict[str, Any]]]:
    """The rows of each table that a command prints."""
    out = subprocess.run(argv, capture_output=True, check=True).stdout.decode()
    found, decoder, at = [], json.JSONDecoder(), 0
    while at < len(out.rstrip()):
        value, at = decoder.raw_decode(out, at)
        found.append([dict(zip(value["headings"], row, strict=True)) for row in value["data"]])
        at += len(out[at:]) - len(out[at:].lstrip())
    return found


def settings_of_switch() -> dict[str, str]:
    """What is written down in the switch's own row."""
    argv = (
        "ovs-vsctl",
        "--timeout=10",
        "--format=json",
        "get",
        "Open_vSwitch",
        ".",
        "external_ids",
    )
    return dict(re.findall(r'([\w-]+)="?([^",}]*)', said_by(*argv)))


def files(folder: str) -> dict[str, list[Any]]:
    """Each file's mode, owner, size and hash, and what a qcow2 image says how large its disk is."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        with contextlib.suppress(OSError):
            there = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            owner = (there.st_mode, there.st_uid, there.st_gid, there.st_ino)
            virtual = int.from_bytes(content[24:32]) if content[:4] == b"QFI\xfb" else 0
            found[str(path)] = [*owner, len(content), hashlib.sha256(content).hexdigest(), virtual]
    return found


def snapshots() -> dict[str, int]:
    """How many snapshots each qcow2 disk has, by its header."""
    found = {}
    for path in Path("/home/ubuntu").rglob("*.qcow2"):
        with contextlib.suppress(OSError), path.open("rb") as file:
            head = file.read(64)
            if head[:4] == b"QFI\xfb":
                found[path.name] = int.from_bytes(head[60:64])
    return found


def marks() -> dict[str, tuple[str, str]]:
    """What the mark of each VM says that is between two workers, and which worker it names."""
    found = {}
    for path in Path("/home/ubuntu/vm_images/.vmops").glob("moving-*"):
        with contextlib.suppress(OSError, ValueError):
            said = json.loads(path.read_text())
            found[path.name.removeprefix("moving-")] = (said["how"], said["peer"])
    return found


def waiting() -> dict[str, str]:
    """How each QEMU is that may wait for a VM of another worker, which itself alone can tell;
    without those whose monitor somebody else has."""
    found = {}
    for name in (name for name, (how, _) in marks().items() if how in ("receiving", "at")):
        with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as talk:
            talk.settimeout(1)
            talk.connect(f"/run/vmops/{name}/qmp.sock")
            lines = talk.makefile("rw")
            lines.readline()
            for word in ("qmp_capabilities", "query-status"):
                lines.write(json.dumps({"execute": word, "id": word}) + "\n")
                lines.flush()
                while (answer := json.loads(lines.readline())).get("id") != word:
                    pass
            found[name] = answer["return"]["status"]
    return found


def seeds() -> list[str]:
    """The VMs whose seed is there with all of its blocks, by what the ISO itself says."""
    found = []
    for path in Path("/run/vmops").glob("*/seed.iso"):
        with contextlib.suppress(OSError):
            iso = path.read_bytes()
            volume = iso[16 * 2048 : 17 * 2048]
            blocks = int.from_bytes(volume[80:84], "little")
            if volume[1:6] == b"CD001" and len(iso) >= blocks * 2048 > 0:
                found.append(path.parent.name)
    return found


def agents() -> dict[str, str]:
    """How each guest is that has an agent and runs, which that alone can tell: frozen or thawed;
    silent where it does not answer, or somebody else talks with it."""
    found = {}
    for name in TALKING:
        with contextlib.suppress(FileNotFoundError, ConnectionError):
            folder = Path(f"/run/vmops/{name}")
            with (folder / "process").open("rb") as record, socket.socket(socket.AF_UNIX) as talk:
                talk.settimeout(AGENT_S)
                try:
                    fcntl.flock(record, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    talk.connect(str(folder / "agent.sock"))
                    found[name] = asked_of(talk)
                except (BlockingIOError, TimeoutError):
                    found[name] = "silent"
    return found


def asked_of(talk: socket.socket) -> str:
    """What an agent says that may still have answers to somebody else."""
    lines = talk.makefile("rwb")

    def say(request: str, before: bytes = b"", **arguments: int) -> None:
        told = json.dumps({"execute": request, "arguments": arguments})
        lines.write(before + told.encode() + b"\n")
        lines.flush()

    def heard() -> bytes:
        if line := lines.readline():
            return line
        raise ConnectionError

    number = os.getpid()
    say("guest-sync-delimited", before=b"\xff", id=number)
    while f'"return": {number}'.encode() not in heard():
        pass
    say("guest-fsfreeze-status")
    return str(json.loads(heard())["return"])


def said_by(*argv: str) -> str:
    """What a command prints, or why it prints nothing."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout or done.stderr


def sum_of(text: str) -> str:
    """A short sum: texts are compared, not read."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def network_node() -> dict[str, Any]:
    """Namespaces, tables of nftables, and what a network node has written down."""
    spaces = {}
    for path in sorted(Path("/run/netns").glob("*")):
        enter = ("nsenter", f"--net={path}")
        rules = said_by(*enter, "nft", "-s", "list", "ruleset")
        # Peers are numbered as they come, and columns are as wide as those numbers want them.
        routes = said_by(*enter, "ip", "-4", "-br", "addr") + said_by(*enter, "ip", "route")
        forwards = said_by(*enter, "cat", "/proc/sys/net/ipv4/ip_forward")
        told = re.sub(r"@\S+|(?<= ) +", "", routes) + forwards
        spaces[path.name] = [sum_of(rules), sum_of(told)]
    names = said_by("nft", "list", "tables").splitlines()
    tables = {}
    for name in names:
        words = name.split()[1:]
        tables[" ".join(words)] = sum_of(said_by("nft", "-s", "list", "table", *words))
    folders: dict[str, list[str]] = {}
    for file in sorted(Path("/run/vmops-net").glob("[!.]*/*")):
        with contextlib.suppress(OSError):
            if file.name not in ("process", "made", "leases"):
                folders.setdefault(file.parent.name, []).append(
                    f"{file.name} {sum_of(file.read_text())}"
                )
    for folder in Path("/run/vmops-net").glob("[!.]*"):
        folders.setdefault(folder.name, [])
    settings = Path("/proc/sys/net/ipv4/conf")
    forwarding = [p.parent.name for p in settings.glob("*/forwarding") if p.read_text() == "1\n"]
    return {
        "spaces": spaces,
        "tables": tables,
        "folders": folders,
        "uplinks": sorted(path.name for path in Path("/run/vmops-net").glob(".uplink.*")),
        "forwarding": sorted(forwarding),
    }


def main() -> None:
    """Print it all."""
    run = Path("/run/vmops")
    there = {
        "processes": processes(),
        "open": open_disks(),
        "flocks": flocks(),
        "links": links(),
        "ovs": tables(),
        "directories": sorted(path.name for path in run.iterdir()) if run.is_dir() else [],
        "files": {folder: files(folder) for folder in sys.argv[1:]},
        "snapshots": snapshots(),
        "marks": marks(),
        "waiting": waiting(),
        "agents": agents(),
        "seeds": seeds(),
        "node": network_node(),
        "settings": settings_of_switch(),
        "overlay": overlay(),
    }
    json.dump(there, sys.stdout)


main()
