"""NamedTuple as `typing` has it, defined in a seventh of the time: most values of vmops are such.

`typing` compiles each annotation, and a `__new__` for each class: 14 ms at each start of
`fab launch`, which defines 140. Here one `__new__` is compiled for each number of fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple  # noqa: TID251
else:
    from _collections import _tuplegetter as getter
    from types import CodeType, FunctionType

    _codes: dict[int, CodeType] = {}
    _BUILTINS: dict[str, Any] = {"__builtins__": {}, "new": tuple.__new__}

    def NamedTuple(*_: object) -> None:  # noqa: N802
        """A base to write in a class statement; it is no class, and cannot be called."""
        raise TypeError("NamedTuple is written as a base: class Name(NamedTuple)")

    def _bases_of(bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (_Marker,)

    NamedTuple.__mro_entries__ = _bases_of

    class _Record(tuple):
        """What all of them have, beside their fields and their own `__new__`."""

        __slots__ = ()

        def __repr__(self) -> str:
            told = ", ".join(
                f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True)
            )
            return f"{type(self).__name__}({told})"

        def __getnewargs__(self) -> tuple[Any, ...]:
            return tuple(self)

        @classmethod
        def _make(cls, values: Any) -> Any:
            """One of these values, as many as there are fields."""
            made = tuple.__new__(cls, values)
            if len(made) != len(cls._fields):
                raise TypeError(f"Expected {len(cls._fields)} arguments, got {len(made)}")
            return made

        def _replace(self, /, **changes: Any) -> Any:
            """The same with other values for some fields."""
            made = tuple.__new__(type(self), map(changes.pop, self._fields, self))
            if changes:
                raise ValueError(f"Got unexpected field names: {list(changes)!r}")
            return made

        __replace__ = _replace

        def _asdict(self) -> dict[str, Any]:
            """Its values by the names of their fields."""
            return dict(zip(self._fields, self, strict=True))

    class _Maker(type):
        """Makes a class of a class statement; it is not the class of what it makes."""

        def __new__(cls, name: str, bases: tuple[type, ...], space: dict[str, Any]) -> type:
            fields = tuple(space.get("__annotations__", ()))
            defaults = {field: space.pop(field) for field in fields if field in space}
            if defaults and (*defaults,) != fields[-len(defaults) :]:
                raise TypeError(f"{name}: a field without a default follows one that has one")
            space.update({field: getter(n, field) for n, field in enumerate(fields)})
            space["_fields"] = space["__match_args__"] = fields
            space["_field_defaults"] = defaults
            space["__slots__"] = ()
            space["__new__"] = _new(name, fields, tuple(defaults.values()))
            others = tuple(base for base in bases if base is not _Marker)
            return type(name, (_Record, *others), space)

    def _new(name: str, fields: tuple[str, ...], defaults: tuple[Any, ...]) -> FunctionType:
        """`__new__(_cls, one, two=...)`: that of so many fields, with these names for them."""
        code = _codes.get(len(fields))
        if code is None:
            words = "".join(f"_{n}, " for n in range(len(fields)))
            source = f"lambda _cls, {words}: new(_cls, ({words}))"
            code = _codes[len(fields)] = eval(source).__code__
        named = code.replace(co_varnames=("_cls", *fields), co_name="__new__")
        made = FunctionType(named, _BUILTINS, "__new__", defaults)
        made.__qualname__ = f"{name}.__new__"
        return made

    _Marker = type.__new__(_Maker, "_Marker", (), {})
