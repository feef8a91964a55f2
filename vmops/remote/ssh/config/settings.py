"""What ssh_config means for one name, in the types that the rest works with."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from vmops.remote.ssh.config import ask
from vmops.remote.ssh.config.reader import Answers, Query, in_list, read
from vmops.remote.ssh.config.text import Block, Files, Line, Unreadable, blocks_of
from vmops.remote.ssh.config.tokens import (
    PROXY_TOKENS,
    at_home,
    expanded,
    file_name,
    home,
    local_tokens,
)

USER_FILES = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
SYSTEM_FILES = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")

_USUAL_KEYS = frozenset(
    f"~/.ssh/id_{kind}"
    for kind in ("rsa", "ecdsa", "ecdsa_sk", "ed25519", "ed25519_sk", "xmss", "dsa")
)
"""`ssh -G` lists these where no IdentityFile says another."""

_AGENT_VARIABLE = "SSH_AUTH_SOCK"


class Sources(NamedTuple):
    """Where ssh_config is: files, or rules that a program gave to its fabric.Config."""

    files: Files
    given: tuple[Block, ...] | None = None


class Said(NamedTuple):
    """What ssh would do for one name. `connect_limit` is in seconds, None where nothing says it.

    `agent` and `forward_agent` are the paths of sockets, empty for none. `strict` is "yes", "no",
    "ask" or "accept-new". `revoked` is a file, or empty.
    """

    host: str
    port: int
    user: str
    identity_files: tuple[str, ...]
    only_these_identities: bool
    use_keys: bool
    certificate_files: tuple[str, ...]
    agent: str
    forward_agent: str
    known_hosts: tuple[str, ...]
    system_known_hosts: tuple[str, ...]
    strict: str
    revoked: str
    hash_names: bool
    check_address: bool
    host_key_alias: str
    jump: str
    command: str
    connect_limit: float | None
    family: str
    bind_address: str
    environment: tuple[tuple[str, str], ...]


def sources_of(config: Any) -> Sources:
    """Where a fabric.Config takes ssh_config from: -S, or the user's and the system's file.

    fab's clones look like a configuration that was given rules; they have the rules of the files.
    """
    runtime = getattr(config, "_runtime_ssh_path", None) or config.ssh_config_path
    paths: tuple[str, ...] = ()
    if runtime:
        paths = (at_home(str(runtime)),)
        if not Path(paths[0]).exists():
            raise Unreadable(f"there is no file {runtime}")
        if not (Path(paths[0]).is_file() or paths[0] == os.devnull):
            raise Unreadable(f"{runtime} is no regular file, and may be read more than once")
    elif config.load_ssh_configs:
        paths = (at_home(config._user_ssh_path), at_home(config._system_ssh_path))
    files = Files(paths, home())
    files = files._replace(changed=tuple(Path(p).stat().st_mtime_ns for p in files.present()))
    given = config.base_ssh_config._config
    if not given or not getattr(config, "_given_explicit_object", False):
        return Sources(files)
    if _are_those_of(files, given):
        return Sources(files)
    return Sources(files, tuple(_as_blocks(given)))


def _are_those_of(files: Files, given: list[Any]) -> bool:
    """Fabric reads the files again for each clone, and adds the same rules once more."""
    once = _rules(files)
    return bool(once) and given == once * (len(given) // len(once))


@cache
def _rules(files: Files) -> list[Any]:
    """What Fabric would have made of the files."""
    import paramiko

    rules = paramiko.SSHConfig()
    with suppress(Exception):
        for path in files.present():
            with Path(path).open() as file:
                rules.parse(file)
    return list(rules._config)  # type: ignore[attr-defined]


def _as_blocks(rules: Iterable[Mapping[str, Any]]) -> Iterable[Block]:
    """paramiko's rules as they stood in a file."""
    for number, rule in enumerate(rules, start=1):
        header = "host", " ".join(rule.get("host", ()))
        if "matches" in rule:
            words = [
                ("!" if match["negate"] else "") + match["type"] + f" {match['param'] or ''}"
                for match in rule["matches"]
            ]
            header = "match", " ".join(words)
        settings = [
            Line("the given ssh_config", number, keyword, value or "none")
            for keyword, values in rule["config"].items()
            for value in (values if isinstance(values, list) else [values])
        ]
        yield Block(Line("the given ssh_config", number, *header), settings)


def begin(query: Query, sources: Sources) -> None:
    """Start to ask ssh, where it will be asked, and do not wait. Raises OSError, Unreadable."""
    if sources.given is None and ask.is_needed(sources.files):
        ask.begin(query, sources.files)


def said(query: Query, sources: Sources) -> Said:
    """What ssh_config says for a name. Raises Unreadable and OSError."""
    asks_ssh = sources.given is None and ask.is_needed(sources.files)
    blocks = sources.given or ()
    if sources.given is None and not asks_ssh:
        blocks = blocks_of(sources.files)

    def answer(query: Query) -> Answers:
        return ask.begin(query, sources.files).answer() if asks_ssh else read(blocks, query)

    found = answer(query)
    nobody_said_who = query.user is None and found["user"] == (query.default_user,)
    if nobody_said_who and _asks_for_users(blocks or blocks_of(sources.files)):
        # A `Match user` was held against who runs this, and not against who will log in.
        query = query._replace(user=query.default_user)
        found = answer(query)
    return _Meaning(query, found, sources.files if asks_ssh else None).said()


def _asks_for_users(blocks: Iterable[Block]) -> bool:
    headers = (block.header for block in blocks)
    return any(h and h.keyword == "match" and "user" in h.rest.lower() for h in headers)


class _Meaning:
    """An answer, of ssh or of our own reader, taken apart. `files` where ssh gave it."""

    def __init__(self, query: Query, answer: Answers, files: Files | None) -> None:
        self._answer = answer
        self._files = files
        self._name = query.name
        self._host = self._one("hostname") or query.name
        self._port = int(self._one("port"))
        self._user = self._one("user")
        alias = self._one("hostkeyalias")
        self._values = {
            **local_tokens(),
            "h": self._host,
            "k": alias or query.name,
            "n": query.name,
            "p": str(self._port),
            "r": self._user,
        }

    def said(self) -> Said:
        if self._one("knownhostscommand") not in ("", "none"):
            raise Unreadable("KnownHostsCommand is not run by vmops: put the keys into a file")
        limit = self._one("connecttimeout")
        strict = self._one("stricthostkeychecking")
        identities = self._many("identityfile")
        if len(identities) > 2 and set(identities) <= _USUAL_KEYS:
            identities = ()
        return Said(
            host=self._host,
            port=self._port,
            user=self._user,
            identity_files=tuple(map(self._file, identities)),
            only_these_identities=self._is("identitiesonly"),
            use_keys=self._one("pubkeyauthentication") not in ("no", "false"),
            certificate_files=tuple(map(self._file, self._many("certificatefile"))),
            agent=self._agent(),
            forward_agent=self._forwarded(),
            known_hosts=self._known_hosts("userknownhostsfile", USER_FILES),
            system_known_hosts=self._known_hosts("globalknownhostsfile", SYSTEM_FILES),
            strict={"true": "yes", "false": "no"}.get(strict, strict or "ask"),
            revoked=self._revoked(),
            hash_names=self._is("hashknownhosts"),
            check_address=self._is("checkhostip"),
            host_key_alias=self._one("hostkeyalias"),
            jump=_unless_none(self._one("proxyjump")),
            command=self._command(),
            connect_limit=float(limit) if limit not in ("", "none", "0") else None,
            family=self._one("addressfamily") or "any",
            bind_address=self._one("bindaddress"),
            environment=self._environment(),
        )

    def _one(self, keyword: str) -> str:
        return next(iter(self._answer.get(keyword, ())), "")

    def _many(self, keyword: str) -> tuple[str, ...]:
        return self._answer.get(keyword, ())

    def _is(self, keyword: str) -> bool:
        return self._one(keyword) in ("yes", "true")

    def _file(self, text: str) -> str:
        return text if text == "none" else file_name(text, self._values)

    def _known_hosts(self, keyword: str, usual: tuple[str, ...]) -> tuple[str, ...]:
        words = self._words(keyword, usual)
        fill = self._file if keyword == "userknownhostsfile" else at_home
        return tuple(fill(word) for word in words if word.lower() != "none")

    def _words(self, keyword: str, usual: tuple[str, ...]) -> Iterable[str]:
        """The words as they were written. ssh prints a list of files without the quotes that told
        where each of them ends, with some of the tokens filled in, and ~ its own way."""
        values = self._many(keyword)
        if self._files is None or not values:
            return values or usual
        written = list(ask.raw_words(self._files, keyword))
        printed = " ".join(values)
        fits = [words for words in (usual, *written) if printed in self._ways(words)]
        if fits:
            return fits[0]
        if any(blank in word for words in written for word in words for blank in " \t"):
            raise Unreadable(f"{keyword} {printed!r}: where does a name end?")
        return printed.split()

    def _ways(self, words: Iterable[str]) -> Iterable[str]:
        """How ssh may print these words."""
        yield " ".join(words)
        theirs = {**self._values, "d": _home_of_ssh()}
        filled = []
        for word in words:
            if word == "~" or word.startswith("~/"):
                word = _home_of_ssh() + word[1:]
            with suppress(Unreadable):
                word = file_name(word, theirs)
            filled.append(word)
        yield " ".join(filled)

    def _revoked(self) -> str:
        words = list(self._words("revokedhostkeys", ()))
        return self._file(_unless_none(" ".join(words)))

    def _agent(self) -> str:
        words = list(self._words("identityagent", ()))
        return self._socket(" ".join(words) or _AGENT_VARIABLE)

    def _forwarded(self) -> str:
        value = self._one("forwardagent")
        if value in ("", "no", "false"):
            return ""
        return self._socket(_AGENT_VARIABLE if value in ("yes", "true") else value)

    def _socket(self, value: str) -> str:
        if value == "none":
            return ""
        if value == _AGENT_VARIABLE:
            return os.environ.get(value, "")
        if value.startswith("$") and not value.startswith("${"):
            return os.environ.get(value[1:], "")
        return self._file(value)

    def _command(self) -> str:
        command = _unless_none(self._one("proxycommand"))
        return expanded(command, self._values, letters=PROXY_TOKENS)

    def _environment(self) -> tuple[tuple[str, str], ...]:
        """SetEnv, and what SendEnv names and this process has; ssh sends both, SetEnv last."""
        wanted = self._many("sendenv")
        found = {name: value for name, value in os.environ.items() if in_list(name, wanted)}
        for setting in self._many("setenv"):
            name, equals, value = setting.partition("=")
            if equals:
                found[name] = value
        return tuple(sorted(found.items()))


def _unless_none(value: str) -> str:
    return "" if value.lower() == "none" else value


def _home_of_ssh() -> str:
    with suppress(KeyError):
        return pwd.getpwuid(os.getuid()).pw_dir
    return home()
