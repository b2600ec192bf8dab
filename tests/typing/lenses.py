"""Lenses as users write them."""

from __future__ import annotations

from typing import assert_type

import atdata
from atdata import Dataset, Lens, write_samples


@atdata.packable
class Person:
    first: str
    last: str
    age: int


@atdata.packable
class Name:
    name: str


@atdata.packable
class Length:
    length: int


@atdata.lens
def named(person: Person) -> Name:
    return Name(f"{person.first} {person.last}")


@named.putter
def rename(name: Name, person: Person) -> Person:
    first, last = name.name.split(" ")
    return Person(first, last, person.age)


@atdata.lens
def measured(name: Name) -> Length:
    return Length(len(name.name))


ada = Person("Ada", "Lovelace", 36)
assert_type(named, Lens[Person, Name])
assert_type(named(ada), Name)
assert_type(named.get(ada), Name)
assert_type(named.put(Name("Ada King"), ada), Person)
assert_type(rename(Name("Ada King"), ada), Person)
assert_type(named.then(measured), Lens[Person, Length])
assert_type(named.source_type, type[Person])
assert_type(named.view_type, type[Name])
named.check_laws([ada], views=[Name("Ada King")])

people = write_samples([ada], "people.tar")
assert_type(people.as_type(Name), Dataset[Name])
assert_type(people.as_type(Name).as_type(Length), Dataset[Length])
print(people.as_type(Name).as_type(Length)[0])


def refused() -> None:
    named(Name("Ada"))  # type: ignore[arg-type]
    named.put(ada, Name("Ada"))  # type: ignore[arg-type]
    measured.then(named)  # type: ignore[arg-type]
