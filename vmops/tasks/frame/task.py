"""The frame around every task: its options and their rules, its failures, its exit code.

    @task({"vm": options.VM, "format": options.FORMAT})
    def pause(c: Context, vm: str | None = None, format: str = "text") -> Work[Outcome]:
        return Work(groups_of_vms(c, vm, task="pause"), ...)

What a body returns as `Work` is carried out here; a body that talks to a terminal does all by
itself and returns nothing. Called from Python, a task gives its results.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from traceback import extract_tb
from typing import Any, TypeVar

from invoke import tasks
from invoke.exceptions import Exit

from vmops.errors import FleetFailed, InventoryError, VmopsError
from vmops.interrupt import EXIT_CODE, raising
from vmops.tasks.frame.options import JSON, LETTERS, OneOf, Option, as_option, check, check_together
from vmops.tasks.frame.output import (
    be_quick,
    complain,
    drop_output,
    echo,
    prepare_streams,
    quiet_libraries,
    say,
    tell_anew,
    untold,
)
from vmops.tasks.frame.work import Work, carry_out
from vmops.tasks.typed.begin import begin, is_asked_in_vain
from vmops.tasks.typed.program import as_typed, hosts_option
from vmops.wait import asking_once

F = TypeVar("F", bound=Callable[..., Any])


class Task(tasks.Task):  # type: ignore[type-arg]
    """A task whose options have the letters of `LETTERS`, and no others."""

    framed = True
    choices: Mapping[str, tuple[str, ...]] = {}
    """The words that may stand behind options that take one out of a few, by the option's name."""
    named: Mapping[str, str] = {}
    """What of hosts.toml the values of options name, by the option's name."""
    options: Mapping[str, Option] = {}
    """What its options mean and what they may stand beside, by the names of its parameters."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Any]:
        """As Invoke has it, as often as one likes: it takes out of `help` what it has used. None
        where it is asked in vain."""
        begin()
        if is_asked_in_vain(self):
            return []
        texts = dict(self.help)
        try:
            return super().get_arguments(ignore_unknown_help)
        finally:
            self.help = texts

    def arg_opts(self, name: str, default: Any, taken_names: set[str]) -> dict[str, Any]:
        """As Invoke has it, with the option's letter."""
        opts = super().arg_opts(name, default, taken_names)
        if name in LETTERS and not opts["positional"]:
            opts["names"].append(LETTERS[name])
        return opts


def task(
    options: Mapping[str, Option] | None = None,
    *,
    name: str | None = None,
    iterable: tuple[str, ...] = (),
    asks_again: bool = False,
) -> Callable[[F], Any]:
    """Make a task of a body; `options` has an entry for each of its parameters behind the context.

    `name` is the task's where Python needs another one, `iterable` are the options that may be
    given several times. One that `asks_again` goes on with workers that were silent: it looks again
    and again, or makes good what it has begun.
    """
    described = options or {}

    def make(body: F) -> Any:
        options = _with_required(body, described)
        made = tasks.task(
            name=name,
            help={option: found.help for option, found in options.items()},
            iterable=list(iterable),
            auto_shortflags=False,
            klass=Task,
        )(_framed(body, options, asks_again=asks_again))
        made.choices = {
            as_option(name): option.rule.words
            for name, option in options.items()
            if isinstance(option.rule, OneOf)
        }
        made.named = {as_option(name): option.names for name, option in options.items()}
        made.options = options
        return made

    return make


def _with_required(body: Callable[..., Any], options: Mapping[str, Option]) -> dict[str, Option]:
    """The options, those required for which Python has no default."""
    parameters = inspect.signature(body).parameters
    empty = inspect.Parameter.empty
    return {
        name: option._replace(required=option.required or parameters[name].default is empty)
        for name, option in options.items()
    }


def _framed(body: F, options: Mapping[str, Option], *, asks_again: bool) -> F:
    """The body in its frame: the one place where a VmopsError becomes a message."""

    @functools.wraps(body)
    def run(*args: Any, **kwargs: Any) -> Any:
        prepare_streams()
        quiet_libraries()
        be_quick()
        tell_anew()
        echo(args[0].config.run.echo)
        try:
            with raising(), nullcontext() if asks_again else asking_once():
                return _result(body, options, *args, **kwargs)
        except VmopsError as error:
            if _debugging():
                raise
            complain(untold(error.failures if isinstance(error, FleetFailed) else [error]))
            raise Exit(code=error.exit_code) from error
        except KeyboardInterrupt:
            say(
                as_typed(
                    "interrupted: a worker finishes or undoes what it had begun; see: fab status"
                )
            )
            raise Exit(code=EXIT_CODE) from None
        except BrokenPipeError:
            drop_output()
        except Exit:
            raise
        except Exception as error:
            if _debugging():
                raise
            _apologize(error)
            raise Exit(code=1) from error

    return run  # type: ignore[return-value]


def _result(body: F, options: Mapping[str, Option], *args: Any, **kwargs: Any) -> Any:
    if hosts_option() == "":
        raise InventoryError("-H '': the value is empty", cure="name a worker, or leave it out")
    signature = inspect.signature(body)
    given = signature.bind(*args, **kwargs)
    given.apply_defaults()
    c, *_ = given.arguments.values()
    values = dict([*given.arguments.items()][1:])
    check(options, values)
    # One that is given its default cannot be told from one that is not given.
    said = {name for name, value in values.items() if value != signature.parameters[name].default}
    check_together(options, said)
    result = body(*args, **kwargs)
    if isinstance(result, Work):
        return carry_out(c, result, as_json=values.get("format") == JSON)
    return result


def _debugging() -> bool:
    """With `fab -d` a failure is a traceback."""
    return bool(os.environ.get("INVOKE_DEBUG"))


def _apologize(error: Exception) -> None:
    """One line for what should not happen; the traceback is there for who asks."""
    (*_, last) = extract_tb(error.__traceback__)
    where = f"{Path(last.filename).name}:{last.lineno}"
    say(f"error: a fault in vmops itself: {type(error).__name__} at {where}: {error}")
    say(as_typed("  please report it, with the traceback that fab -d shows"))
