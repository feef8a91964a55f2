"""ssh_config read here, for machines without ssh: what is certain is answered, the rest refused.

The answer looks like that of `ssh -G`: keywords in small letters, each with its values. It may be
poorer than ssh's own, and is never laxer: whatever only ssh can decide raises Unreadable.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from vmops.nameless import local_user
from vmops.remote.ssh.config.text import Block, Line, Unreadable
from vmops.remote.ssh.config.tokens import expanded, local_tokens

Answers = dict[str, tuple[str, ...]]
"""A keyword's values: several words of one line, or those of all lines where they add up."""


class Query(NamedTuple):
    """What is asked: the name, with user and port where something else than ssh_config says them.

    The defaults are for where nobody says one.
    """

    name: str
    user: str | None = None
    port: int | None = None
    default_user: str = "ubuntu"
    default_port: int = 22


ADDING_UP = ("identityfile", "certificatefile", "sendenv")
RAW = ("proxycommand", "remotecommand", "localcommand", "knownhostscommand")
LISTS = ("userknownhostsfile", "globalknownhostsfile", "setenv", "sendenv")
_SWITCHES = ("identitiesonly", "hashknownhosts", "checkhostip", "pubkeyauthentication")
_PLAIN = (
    "hostname", "port", "user", "connecttimeout", "addressfamily", "bindaddress", "hostkeyalias",
    "identityagent", "revokedhostkeys", "forwardagent", "stricthostkeychecking", "proxyjump",
    "identityfile", "certificatefile",
)  # fmt: skip
READ = frozenset((*_PLAIN, *_SWITCHES, *LISTS, "proxycommand", "knownhostscommand"))
"""The keywords that decide how vmops reaches a worker."""

_ONLY_SSH = frozenset(("canonicalizehostname", "canonicaldomains", "bindinterface", "tag"))
"""Those that change the others' meaning in ways that are left to ssh."""

_OTHER_NAMES = """
addkeystoagent batchmode canonicalizefallbacklocal canonicalizemaxdots
canonicalizepermittedcnames casignaturealgorithms challengeresponseauthentication channeltimeout
ciphers clearallforwardings compression connectionattempts controlmaster controlpath
controlpersist dynamicforward enableescapecommandline enablesshkeysign escapechar
exitonforwardfailure fingerprinthash forkafterauthentication forwardx11 forwardx11timeout
forwardx11trusted gatewayports gssapiauthentication gssapiclientidentity
gssapidelegatecredentials gssapikexalgorithms gssapikeyexchange gssapirenewalforcesrekey
gssapiserveridentity gssapitrustdns hostbasedacceptedalgorithms hostbasedauthentication
hostbasedkeytypes hostkeyalgorithms ipqos kbdinteractiveauthentication kbdinteractivedevices
kexalgorithms localcommand localforward loglevel logverbose macs
nohostauthenticationforlocalhost numberofpasswordprompts obscurekeystroketiming
passwordauthentication permitlocalcommand permitremoteopen pkcs11provider
preferredauthentications proxyusefdpass pubkeyacceptedalgorithms pubkeyacceptedkeytypes
rekeylimit remotecommand remoteforward requesttty requiredrsasize securitykeyprovider
serveralivecountmax serveraliveinterval sessiontype stdinnull streamlocalbindmask
streamlocalbindunlink syslogfacility tcpkeepalive tunnel tunneldevice updatehostkeys
verifyhostkeydns visualhostkey xauthlocation
"""

_OTHERS = frozenset(_OTHER_NAMES.split())
"""Known to ssh, and without a bearing on how vmops works (docs/ssh.md says why)."""

_KNOWN = READ | _OTHERS

_YES, _NO = ("yes", "true"), ("no", "false")
_TIME = re.compile(r"(\d+)([smhdw]?)", re.I)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def read(blocks: Iterable[Block], query: Query) -> Answers:
    """What the settings mean for the name that is asked about. Raises Unreadable."""
    return _Reader(query).answer(blocks)


class _Reader:
    """The first value of a keyword wins."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._found: dict[str, list[str]] = {}
        self._ignored: tuple[str, ...] = ()
        self._holds: dict[int, bool] = {}
        if query.user is not None:
            self._found["user"] = [query.user]
        if query.port is not None:
            self._found["port"] = [str(query.port)]

    def answer(self, blocks: Iterable[Block]) -> Answers:
        for block in blocks:
            self._check_keywords(block)
            applies = self._applies(block)
            for line in block.settings:
                values = _values(line)
                if applies and values:
                    self._keep(line.keyword, values)
        self._found.setdefault("user", [self._query.default_user])
        self._found.setdefault("port", [str(self._query.default_port)])
        name = {**local_tokens(), "h": self._query.name}
        if "hostname" in self._found:
            self._found["hostname"] = [expanded(self._found["hostname"][0], name, letters="%h")]
        return {key: tuple(values) for key, values in self._found.items() if key in READ}

    def _check_keywords(self, block: Block) -> None:
        for line in block.settings:
            if line.keyword == "ignoreunknown":
                self._ignored = self._ignored or tuple(line.rest.lower().split(","))
            elif line.keyword in _ONLY_SSH:
                raise line.fault(f"{line.keyword} can only be read by ssh, which is not here")
            elif line.keyword not in _KNOWN and not in_list(line.keyword, self._ignored):
                raise line.fault(f"unknown option {line.keyword}")

    def _applies(self, block: Block) -> bool:
        """Once for a header; ssh looks at the ones inside a block that does not apply, too."""
        outer = block.inside is None or self._applies(block.inside)
        if block.header is None:
            return outer
        key = id(block.header)
        if key not in self._holds:
            self._holds[key] = self._matches_header(block.header)
        return outer and self._holds[key]

    def _matches_header(self, header: Line) -> bool:
        if header.keyword == "host":
            return in_list(self._query.name, header.words)
        words = _criteria(header)
        if not words:
            raise header.fault("Match without a criterion")
        holds = True
        while words:
            word = words.pop(0)
            negated, word = word.startswith("!"), word.lstrip("!").lower()
            if word == "all":
                if words or negated:
                    raise header.fault("all stands alone in a Match")
                continue
            if word not in ("host", "originalhost", "user", "localuser"):
                raise header.fault(f"Match {word} can only be read by ssh, which is not here")
            if not words:
                raise header.fault(f"Match {word} lacks its value")
            holds &= negated != in_list(
                self._subject(word).lower(), words.pop(0).lower().split(",")
            )
        return holds

    def _subject(self, criterion: str) -> str:
        if criterion == "host" and "hostname" in self._found:
            values = {"%": "%", "h": self._query.name}
            return expanded(self._found["hostname"][0], values, letters="%h")
        if criterion in ("host", "originalhost"):
            return self._query.name
        mine = [local_user()]
        return (self._found.get("user", mine) if criterion == "user" else mine)[0]

    def _keep(self, keyword: str, values: Sequence[str]) -> None:
        if keyword in ADDING_UP:
            kept = self._found.setdefault(keyword, [])
            taken_back = [value[1:] for value in values if value.startswith("-")]
            if keyword == "sendenv":
                values = [value for value in values if not value.startswith("-")]
                kept[:] = [one for one in kept if not in_list(one, taken_back)]
            kept.extend(value for value in values if value not in kept)
            return
        if keyword == "proxyjump" and "proxycommand" in self._found:
            return
        if keyword == "proxycommand" and self._found.get("proxyjump", ["none"]) != ["none"]:
            return
        self._found.setdefault(keyword, list(values))


def _values(line: Line) -> list[str]:
    """What stands behind a keyword, as `ssh -G` writes it; nothing for one that is not read.

    Looked at in every block: ssh refuses a file also for what does not apply. Raises Unreadable.
    """
    keyword = line.keyword
    if keyword in RAW:
        return [line.rest.lstrip("=").strip()]
    values = line.words
    if keyword not in READ:
        return []
    if not values:
        raise line.fault(f"nothing stands behind {keyword}")
    if keyword == "setenv" and not all("=" in value.lstrip("=") for value in values):
        raise line.fault("SetEnv is NAME=VALUE")
    if keyword in LISTS:
        return values
    if len(values) > 1:
        raise line.fault(f"too many words behind {keyword}")
    return [_checked(line, values[0])]


def _criteria(header: Line) -> list[str]:
    """The words of a Match line; = is as good as a blank."""
    words: list[str] = []
    for word in header.words:
        name, equals, value = word.partition("=")
        words += [name, value] if equals and name and words[-1:] != ["exec"] else [word]
    return words


def _checked(line: Line, value: str) -> str:
    """The value of a keyword that takes one, as `ssh -G` writes it. Raises Unreadable."""
    keyword = line.keyword
    low = value.lower()
    if keyword in _SWITCHES:
        if low in _YES or low in _NO:
            return "yes" if low in _YES else "no"
        raise line.fault(f"{keyword} is yes or no, not {value}")
    if keyword == "port":
        return _port(line, value)
    if keyword == "connecttimeout":
        return "none" if low == "none" else str(_seconds(line, value))
    if keyword == "addressfamily":
        if low not in ("any", "inet", "inet6"):
            raise line.fault(f"{keyword} is any, inet or inet6, not {value}")
        return low
    if keyword == "stricthostkeychecking":
        if low not in (*_YES, *_NO, "off", "ask", "accept-new"):
            raise line.fault(f"{keyword} is yes, no, ask or accept-new, not {value}")
        return "true" if low in _YES else "false" if low in (*_NO, "off") else low
    if keyword == "forwardagent":
        return "yes" if low in _YES else "no" if low in _NO else value
    return low if keyword == "hostkeyalias" else value


def _port(line: Line, value: str) -> str:
    try:
        port = int(value) if value.isdecimal() else socket.getservbyname(value, "tcp")
    except OSError:
        port = 0
    if not 0 < port < 65536:
        raise line.fault(f"{value} is no port")
    return str(port)


def _seconds(line: Line, value: str) -> int:
    if not value or _TIME.sub("", value):
        raise line.fault(f"{value} is no time")
    return sum(int(n) * _SECONDS[unit.lower()] for n, unit in _TIME.findall(value))


def in_list(name: str, patterns: Sequence[str]) -> bool:
    """Does the name match one of the patterns, and none of those with a ! in front?"""
    found = False
    for pattern in patterns:
        if pattern.startswith("!"):
            if matches(name, pattern[1:]):
                return False
        elif matches(name, pattern):
            found = True
    return found


def matches(name: str, pattern: str) -> bool:
    """* stands for any text and ? for one character; brackets stand for themselves."""
    if pattern.count("*") > 32:
        raise Unreadable(f"{pattern[:60]!r}: too many stars in a pattern")
    at = named = 0
    star, resume = -1, 0
    while named < len(name):
        here = pattern[at : at + 1]
        if here == "*":
            star, resume = at, named
            at += 1
        elif here == "?" or here == name[named]:
            at += 1
            named += 1
        elif star >= 0:
            resume += 1
            at, named = star + 1, resume
        else:
            return False
    return not pattern[at:].strip("*")
