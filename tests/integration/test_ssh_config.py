"""ssh is the judge: what it makes of a configuration, and what we do, with it and without it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vmops.remote.ssh.config import ask
from vmops.remote.ssh.config.reader import READ, Query
from vmops.remote.ssh.config.settings import Said, Sources, said
from vmops.remote.ssh.config.text import Files, Unreadable

HAND_MADE = [
    "Host w1\n HostName 10.0.0.9\n Port 2200\n User deploy",
    "Host W1\n Port 2200",
    "Host w?\n Port 2200",
    "Host w* !w1\n Port 2200",
    "Host !w1 w*\n Port 2200",
    "Host !w2\n Port 2200",
    "Host [w]1\n Port 2200",
    "Host w[1-3]\n Port 2200",
    'Host "w1"\n Port 2200',
    "Host 'w1'\n Port 2200",
    'Host "w1 x" w1\n Port 2200',
    "Host=w1\n Port=2200",
    "Host = w1\n Port = 2200",
    "Host\tw1\n\tPort\t2200",
    "HOST w1\n PORT 2200",
    "Host other w1\n Port 2200\nHost w1\n Port 2201",
    "Port 2199\nHost w1\n Port 2200",
    "Host *\n Port 2200\nHost w1\n Port 2201",
    "Host w1\n Port 2200 # lab",
    "Host w1 # main\n Port 2200",
    "Host main # w1\n Port 2200",
    "Host w1 # Bob's\n Port 2200",
    "Host w1\n HostName w1#b",
    "Host w1\n HostName 10.0.0.9 # rack 3",
    "# Host w1\n#Port 1\nHost w1\n  # Port 2\n Port 2200",
    "Host w1\n Port 70000",
    "Host w1\n Port 0",
    "Host w1\n Port -1",
    "Host w1\n Port ssh",
    "Host w1\n Port nosuchservice",
    "Host w1\n Port 22 23",
    "Host w1\n Port",
    "Host w1\n Port ''",
    "Host w1\n Port 022",
    'Host w1\n User "dom\\\\ain"',
    "Host w1\n User dom\\user",
    "Host w1\n User 'a b'",
    'Host w1\n User "open',
    "Host w1\n HostName %h.example",
    "Host w1\n HostName %h%%x",
    "Host w1\n HostName %n.example",
    "Host w1\n HostName %z",
    "Host w1\n NoSuchOption yes",
    "Host other\n NoSuchOption yes",
    "IgnoreUnknown NoSuch*\nHost w1\n NoSuchOption yes\n Port 2200",
    "Host w1\n IgnoreUnknown Other\n NoSuchOption yes",
    "Match host w1\n Port 2200",
    "Match Host w1\n Port 2200",
    "Match Host other\n Port 2200",
    "Match host W1\n Port 2200",
    "Match host=w1\n Port 2200",
    "Match host w2,w1\n Port 2200",
    "Match host w*,!w1\n Port 2200",
    "Match !host w1\n Port 2200",
    "Match !Host other\n Port 2200",
    'Match host "w1"\n Port 2200',
    'Match host "w1\n Port 2200',
    "Match host w1 # lab\n Port 2200",
    "Match all\n Port 2200",
    "Match All\n Port 2200",
    "Match all host w1\n Port 2200",
    "Match host w1 all\n Port 2200",
    "Match !all\n Port 2200",
    "Match\n Port 2200",
    "Match host\n Port 2200",
    "Match user root\n Port 2200",
    "Match User root\n Port 2200",
    "Match user ubuntu\n Port 2200",
    "Match user nobody\n Port 2200",
    "Match !user ubuntu\n Port 2200",
    "User guest\nMatch user guest\n Port 2200",
    "Match localuser root\n Port 2200",
    "Match LocalUser nobody\n Port 2200",
    "Match originalhost w1\n Port 2200",
    "HostName 10.0.0.9\nMatch host 10.*\n Port 2200",
    "HostName 10.0.0.9\nMatch originalhost w1 host 10.0.0.9\n Port 2200",
    "Match exec true\n Port 2200",
    "Match exec false\n Port 2200",
    'Match exec "test %h = w1"\n Port 2200',
    "Match Exec true\n Port 2200",
    "Match host w1 exec false\n Port 2200",
    "Match final\n Port 2200",
    "Match Final all\n Port 2200",
    "Match canonical\n Port 2200",
    "Match canonical all\n Port 2200",
    "Match tagged lab\n Port 2200",
    "Match localnetwork 10.0.0.0/8\n Port 2200",
    "Match command uptime\n Port 2200",
    "Match sessiontype shell\n Port 2200",
    "Match nosuch w1\n Port 2200",
    "ConnectTimeout 30",
    "ConnectTimeout 30s",
    "ConnectTimeout 1m30s",
    "ConnectTimeout 1h",
    "ConnectTimeout none",
    "ConnectTimeout 0",
    "ConnectTimeout -1",
    "ConnectTimeout soon",
    "ConnectTimeout 1x",
    "IdentitiesOnly YES",
    "IdentitiesOnly true",
    "IdentitiesOnly maybe",
    "IdentityFile ~/.ssh/lab",
    'IdentityFile "/keys/a b"',
    "IdentityFile /keys/a b",
    "IdentityFile /a\nIdentityFile /b\nIdentityFile /a",
    "IdentityFile /keys/%h-%p-%r-%n-%u-%L-%l-%i-%d-%k-%%",
    "IdentityFile /keys/%z",
    "IdentityFile ${HOME}/key",
    "IdentityFile ${NO_SUCH_VARIABLE}/key",
    "IdentityFile none",
    "IdentityFile ~nosuchuser/key",
    "CertificateFile ~/cert-%h\nCertificateFile /b",
    "IdentityAgent /run/%h.sock",
    "IdentityAgent ~/agent",
    "IdentityAgent none",
    "IdentityAgent SSH_AUTH_SOCK",
    "IdentityAgent $LAB_AGENT",
    "IdentityAgent ${HOME}/agent",
    'IdentityAgent "/a b"',
    "UserKnownHostsFile /kh/%h /kh/%k",
    "UserKnownHostsFile /kh/%n-%p %d/kh",
    "User deploy\nUserKnownHostsFile /kh/%r",
    "UserKnownHostsFile ~/kh /b%%",
    "UserKnownHostsFile ${HOME}/kh",
    'UserKnownHostsFile "/a b" /c',
    "UserKnownHostsFile /a\\ b /c",
    "UserKnownHostsFile '/a b'\nHost w1\n UserKnownHostsFile /x",
    "UserKnownHostsFile /first\nUserKnownHostsFile /second",
    "UserKnownHostsFile none",
    "UserKnownHostsFile /dev/null",
    "HostKeyAlias Lab\nUserKnownHostsFile /kh/%k",
    "HostName 10.0.0.9\nUserKnownHostsFile /kh/%h-%k",
    "GlobalKnownHostsFile /etc/kh",
    'GlobalKnownHostsFile "/etc/k h" /etc/kh2',
    "GlobalKnownHostsFile /etc/%h ~/global",
    "RevokedHostKeys ~/revoked",
    "RevokedHostKeys none",
    "StrictHostKeyChecking yes",
    "StrictHostKeyChecking YES",
    "StrictHostKeyChecking no",
    "StrictHostKeyChecking off",
    "StrictHostKeyChecking ask",
    "StrictHostKeyChecking accept-new",
    "StrictHostKeyChecking perhaps",
    "HashKnownHosts yes",
    "CheckHostIP yes",
    "CheckHostIP yes no",
    "HostKeyAlias lab # note",
    "ProxyJump one",
    "ProxyJump a@one:2200,b@two",
    "ProxyJump none",
    "ProxyJump none\nProxyCommand nc %h %p",
    "ProxyCommand none\nProxyJump one",
    "ProxyCommand nc %h %p\nProxyJump one",
    "ProxyJump one\nProxyCommand nc %h %p",
    "ProxyCommand nc -x 'a b' %h %p # %r %n %%",
    "ProxyCommand = nc %h %p",
    "ProxyCommand none",
    "Host w2\n ProxyJump one\nHost *\n ProxyCommand nc %h %p",
    "ForwardAgent yes",
    "ForwardAgent true",
    "ForwardAgent no",
    "ForwardAgent /run/agent",
    "ForwardAgent $LAB_AGENT",
    "AddressFamily inet",
    "AddressFamily INET6",
    "AddressFamily v4",
    "BindAddress 127.0.0.1",
    "SendEnv LANG LC_*",
    "SendEnv LANG\nSendEnv LC_*\nSendEnv -LANG",
    "SetEnv A=b C=d",
    'SetEnv A="b c"',
    "SetEnv A=1\nSetEnv B=2",
    "SetEnv A",
    "CanonicalizeHostname yes\nCanonicalDomains invalid",
    "CanonicalizeHostname no\nPort 2200",
    "KnownHostsCommand /bin/true",
    "Compression yes\nServerAliveInterval 5\nPort 2200",
    "PubkeyAuthentication no",
    "Include extra\nPort 2201",
    "Host w1\n Include extra\n Port 2201",
    "Host other\n Include extra\nHost w1\n Port 2201",
    "Host other\n Include hosts\nHost w1\n Port 2201",
    "Include hosts\nUser late",
    "Include nosuch\nPort 2200",
    "Include ~/.ssh/extra",
    "Include ex*",
    "Include again",
    'Include "extra"',
    "\ufeffHost w1\n Port 2200",
    "Host w1\r\n Port 2200\r\n",
    "Host w1\n Port 2200\f",
    "Host \u00fcmlaut w1\n User \u00fcber",
    "Host w1\n User a\\ b",
    '"Host" w1\n "Port" 2200',
    "",
    "Host",
    "Host *",
]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home; ssh takes its own from the passwd entry, and the answers must not differ."""
    ssh = tmp_path / ".ssh"
    ssh.mkdir()
    (ssh / "extra").write_text("Port 2299\n")
    (ssh / "hosts").write_text("Host w1\n Port 2300\n User included\n")
    (ssh / "again").write_text("Include again\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LAB_AGENT", "/run/lab.sock")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent.sock")
    monkeypatch.setenv("LANG", "C.UTF-8")
    return tmp_path


def in_file(home: Path, text: str) -> Files:
    file = home / ".ssh" / "config"
    file.write_text(text)
    file.chmod(0o600)
    return Files((str(file),), str(home), (len(text), hash(text)))


def with_ssh(query: Query, files: Files) -> Said | None:
    """What vmops makes of it where ssh is; None for a refusal."""
    try:
        return said(query, Sources(files))
    except Unreadable:
        return None


def without_ssh(query: Query, files: Files) -> Said | None:
    """The same where there is no ssh."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ask, "is_needed", lambda _: False)
        return with_ssh(query, files)


def judged(query: Query, files: Files) -> dict[str, list[str]] | None:
    """What `ssh -G` says when a person types it, of what matters here; None for a refusal."""
    words = ["ssh", "-F", files.paths[0], "-G"]
    words += ["-l", query.user] if query.user else []
    words += ["-p", str(query.port)] if query.port else []
    done = subprocess.run([*words, query.name], stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode != 0:
        return None
    found: dict[str, list[str]] = {}
    for line in done.stdout.decode(errors="surrogateescape").splitlines():
        keyword, _, value = line.partition(" ")
        found.setdefault(keyword, []).append(value)
    return {keyword: found.get(keyword, []) for keyword in READ}


QUERIES = [
    pytest.param(Query("w1"), id="w1"),
    pytest.param(Query("w1", user="guest", port=2022), id="guest@w1:2022"),
]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("text", HAND_MADE)
def test_ssh_is_the_judge(home: Path, text: str, query: Query) -> None:
    agree(in_file(home, text), query)


def agree(files: Files, query: Query) -> None:
    """What we hand to ssh says the same as the file itself, and our own reader no other thing."""
    verdict = judged(query, files)
    ours, alone = with_ssh(query, files), without_ssh(query, files)
    if verdict is None:
        assert ours is None
        assert alone is None
        return
    answer = ask.begin(query, files).answer()
    for keyword, values in verdict.items():
        if keyword not in ("user", "port"):
            assert list(answer.get(keyword, ())) == values, keyword
    defaults = str(query.default_port), query.default_user
    assert answer["port"][0] in (verdict["port"][0], defaults[0])
    assert answer["user"][0] in (verdict["user"][0], defaults[1])
    if alone is not None:
        assert alone == ours


@cache
def good_lines() -> list[str]:
    """The lines of those of the above that ssh takes, each once."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / ".ssh").mkdir()
        taken = [text for text in HAND_MADE if judged(Query("w1"), in_file(Path(folder), text))]
    lines = dict.fromkeys(line.strip() for text in taken for line in text.split("\n"))
    # Where no User is told, %r is our default user and not the local one.
    return [line for line in lines if line and "Canonical" not in line and "%r" not in line]


@settings(
    max_examples=150,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data(), query=st.sampled_from([query.values[0] for query in QUERIES]))
def test_ssh_is_the_judge_of_any_mixture(home: Path, data: st.DataObject, query: Query) -> None:
    lines = data.draw(st.lists(st.sampled_from(good_lines()), min_size=2, max_size=12))
    agree(in_file(home, "\n".join(lines)), query)


def test_a_forked_child_leaves_its_parents_files_alone(home: Path) -> None:
    """They go with the process that wrote them."""
    (home / "config").write_text("Host w1\n Port 2200\n")
    script = (
        "import os, sys\n"
        "from vmops.remote.ssh.config import ask\n"
        "from vmops.remote.ssh.config.reader import Query\n"
        "from vmops.remote.ssh.config.text import Files\n"
        "files = Files((sys.argv[1],), sys.argv[2])\n"
        "ask.begin(Query('w1'), files).answer()\n"
        "child = os.fork()\n"
        "if not child: sys.exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print(ask.begin(Query('w1', user='other'), files).answer()['port'])\n"
    )
    temporary = home / "tmp"
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script, home / "config", home],
        env={**os.environ, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "('2200',)\n", done.stderr
    assert list(temporary.iterdir()) == []
