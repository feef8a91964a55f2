"""What makes a shell complete `fab` and `vmops`: tasks, options, and names of hosts.toml."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from invoke.parser.context import to_flag

from vmops.errors import InventoryError
from vmops.tasks.typed import completer

_BASH = """\
_vmops_complete() {
    local IFS=$'\\n'
    COMPREPLY=($(@run bash '@words' "${COMP_WORDS[@]:0:COMP_CWORD+1}" 2>/dev/null))
}
complete -o default -F _vmops_complete fab vmops
"""

_ZSH = """\
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
_vmops_complete() {
    local -a found
    found=("${(@f)$(@run zsh '@words' "${words[@]:0:$CURRENT}" 2>/dev/null)}")
    if [[ -n "$found" ]]; then compadd -Q -- "${found[@]}"; else _files; fi
}
compdef _vmops_complete fab vmops
"""

_FISH = """\
function __vmops_complete
    set -l found (@run fish '@words' (commandline -opc) (commandline -ct) 2>/dev/null)
    if set -q found[1]
        printf '%s\\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete --command fab --command vmops --no-files --arguments '(__vmops_complete)'
"""

SHELLS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def words_of(tasks: Any, core: Iterable[Any]) -> str:
    """What `completer` has to know of a collection and of the program's own options, as JSON.

    No quote and no backslash of the text is a shell's: JSON has another spelling for both.
    """
    known = {
        context.name: {
            "doc": (tasks[context.name].__doc__ or "").strip().partition("\n")[0],
            "flags": {
                to_flag(name): _value_of(argument)
                for argument in context.args.values()
                for name in argument.names
            }
            | dict.fromkeys(context.inverse_flags, ""),
            "choices": getattr(tasks[context.name], "choices", {}),
            "named": {o: s for o, s in getattr(tasks[context.name], "named", {}).items() if s},
            "positional": [to_flag(argument.name) for argument in context.positional_args],
        }
        for context in tasks.to_contexts()
    }
    own = {
        f"--{name}" if len(name) > 1 else f"-{name}": _value_of(argument)
        for argument in core
        for name in argument.names
    }
    text = json.dumps({"core": own, "tasks": known}, separators=(",", ":"))
    return text.replace("\\\\", "\\u005c").replace("'", "\\u0027")


def _value_of(argument: Any) -> str:
    """What an option's value is called, by its long name; empty for one without a value."""
    return str(max(argument.names, key=len)) if argument.takes_value else ""


def script(shell: str, words: str) -> str:
    """What the shell has to read once. Raises InventoryError for a shell that is not known."""
    if shell not in SHELLS:
        raise InventoryError(
            f"--print-completion-script {shell}: must be one of {', '.join(SHELLS)}"
        )
    from shlex import quote

    run = f"{quote(sys.executable)} -I -S {quote(str(Path(completer.__file__)))}"
    return SHELLS[shell].replace("@run", run).replace("@words", words)
