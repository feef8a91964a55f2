"""NamedTuple of vmops.core.records is that of `typing`, in everything that can be seen of it."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import pkgutil
import typing
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vmops
from vmops.core import records
from vmops.core.records import NamedTuple

T = TypeVar("T")

MAKER: Any = vars(records)["_Maker"]
MARKER: Any = vars(records)["_Marker"]
RECORD: Any = vars(records)["_Record"]
"""What mypy does not see: to it the class statement is that of `typing`."""

TYPINGS = vars(typing)["NamedTupleMeta"], vars(typing)["_NamedTuple"]


class Ours(NamedTuple):
    """A port."""

    name: str
    tag: int | None = None
    trunks: tuple[int, ...] = ()

    @property
    def tagged(self) -> bool:
        """True with a tag."""
        return self.tag is not None


class Typings(typing.NamedTuple):
    """A port."""

    name: str
    tag: int | None = None
    trunks: tuple[int, ...] = ()

    @property
    def tagged(self) -> bool:
        """True with a tag."""
        return self.tag is not None


class Box(NamedTuple, Generic[T]):
    inside: T
    label: str = "box"


class Empty(NamedTuple):
    pass


def outcome(do: Callable[[], Any]) -> str:
    try:
        found = do()
    except Exception as error:
        return f"{type(error).__name__}: {error}".replace("Typings", "Ours")
    return repr(found).replace("Typings", "Ours")


SEEN: dict[str, Callable[[Any], Any]] = {
    "positional": lambda made: made("a", 1, (2,)),
    "named": lambda made: made(trunks=(2,), name="a"),
    "nothing": lambda made: made(),
    "too many": lambda made: made("a", 1, (), 4),
    "unknown": lambda made: made("a", colour=1),
    "twice": lambda made: made("a", name="b"),
    "make": lambda made: made._make(["a", 1, ()]),
    "make too few": lambda made: made._make(["a"]),
    "replace": lambda made: made("a")._replace(tag=4),
    "replace nothing": lambda made: made("a")._replace(),
    "replace unknown": lambda made: made("a")._replace(colour=1),
    "dict": lambda made: made("a")._asdict(),
    "property": lambda made: (made("a").tagged, made("a", 0).tagged),
    "fields": lambda made: (made._fields, made._field_defaults, made.__match_args__),
    "doc": lambda made: (made.__doc__, made.__name__, made.__qualname__, made.__module__),
    "copy": lambda made: (copy.copy(made("a")), copy.deepcopy(made("a", 1, (2,)))),
    "pickle": lambda made: pickle.loads(pickle.dumps(made("a", 1))),
    "equal": lambda made: (made("a") == ("a", None, ()), hash(made("a")) == hash(("a", None, ()))),
    "order": lambda made: sorted([made("b"), made("a", 1)]),
    "parameters": lambda made: [
        (each.name, each.kind, each.default is each.empty)
        for each in inspect.signature(made).parameters.values()
    ],
    "new attribute": lambda made: setattr(made("a"), "name", "b"),
    "slots": lambda made: hasattr(made("a"), "__dict__"),
    "percent": lambda made: "%s %s %s" % made("a"),  # noqa: UP031
    "class": lambda made: (type(made) is type, made.__mro__[-2:]),
}


@pytest.mark.parametrize("seen", SEEN.values(), ids=SEEN)
def test_it_is_as_typing_has_it(seen: Callable[[Any], Any]) -> None:
    assert outcome(lambda: seen(Ours)) == outcome(lambda: seen(Typings))


NAMES = st.lists(st.from_regex(r"f_[a-z_]{0,8}", fullmatch=True), unique=True, max_size=30)


@given(NAMES, st.data())
def test_any_number_of_fields_is_taken(names: list[str], data: st.DataObject) -> None:
    few = data.draw(st.integers(0, len(names)))
    space = {
        "__annotations__": dict.fromkeys(names, "int"),
        **{name: n for n, name in enumerate(names) if n >= few},
    }
    ours, typings = (
        maker("Made", (base,), {**space, "__module__": __name__})
        for maker, base in ((MAKER, MARKER), TYPINGS)
    )
    given_values = list(range(few))
    assert repr(ours(*given_values)) == repr(typings(*given_values))
    assert outcome(lambda: ours(*given_values[1:])) == outcome(lambda: typings(*given_values[1:]))


def test_a_type_may_be_left_open() -> None:
    made: Box[int] = Box(4)
    assert (made.inside, made.label, Box[int](4)) == (4, "box", made)
    assert typing.get_args(Box[int]) == (int,)


def test_a_record_may_be_empty_and_a_match_finds_fields() -> None:
    assert repr(Empty()) == "Empty()"
    match Ours("a", 4):
        case Ours(name, tag=tag):
            assert (name, tag) == ("a", 4)


def test_a_field_without_a_default_comes_first() -> None:
    space = {"__annotations__": {"a": "int", "b": "int"}, "a": 1}
    with pytest.raises(TypeError, match="default"):
        MAKER("Made", (MARKER,), space)


def test_what_is_no_class_cannot_be_called() -> None:
    with pytest.raises(TypeError, match="base"):
        NamedTuple("Made", [])


def test_every_record_of_ours_takes_its_fields_by_name() -> None:
    found = 0
    for module in pkgutil.walk_packages(vmops.__path__, "vmops."):
        if module.name == "vmops.__main__":
            continue
        for made in vars(importlib.import_module(module.name)).values():
            if getattr(made, "__module__", "") != module.name or not isinstance(made, type):
                continue
            if issubclass(made, RECORD) and "_fields" in vars(made):
                fields: tuple[str, ...] = vars(made)["_fields"]
                assert tuple(inspect.signature(made).parameters) == fields
                found += 1
    assert found > 200
