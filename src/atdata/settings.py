"""Everything that can be set, by environment or by argument, in one table.

| variable | argument | default | what it is |
|---|---|---|---|
| `ATDATA_PLC_URL` | `plc_url=` | `https://plc.directory` | the PLC directory that resolves `did:plc` |
| `ATDATA_RESOLVER_URL` | `resolver_url=` | none | servers, comma-separated, whose `resolveHandle` is asked in order instead of DNS and `/.well-known/atproto-did` |
| `ATDATA_APPVIEW_URL` | `appview_url=` | none | AppViews, comma-separated, that `atdata search` and the search for lenses ask too; nothing that one answers is believed unproven |
| `ATDATA_ALLOW_LOOPBACK` | `allow_loopback=` | off | `1` lets addresses found in records and DID documents be `http` and on this machine |
| `ATDATA_CACHE` | `cache=` | the platform's cache folder | shards by digest, and the newest repository state seen for each DID |
| `ATDATA_INDEX_URL` | `index_url=` | none | the team's index: `redis://`, `postgresql://`, `sqlite:///` or a path; without it, a SQLite file in the data folder |
| `ATDATA_PUBLIC_QUERY` | `public_query=` | none | names, comma-separated, of parameters that the addresses in what you publish may have, such as `download` |
| `ATDATA_LENS_INTERPRETER` | `lens_interpreter=` | none | `https://REPOSITORY@COMMIT` of the atdata whose functions the records of your lenses name where these have no code of their own; without it, the release that this one names |
| `ATDATA_POLICY` | `policy=` | none | the file of a trust policy, which every dataset of the network must keep before any of its shards is read |
| `ATDATA_DATA` | `data=` | the platform's data folder | saved logins, the index, stored shards, and the journals of unfinished publications |
| `ATDATA_PATIENCE` | `patience=` | `300` | seconds that one request may wait for its server, over all its tries and redirects; a fifth of them for one try, a tenth for its next bytes |
| `ATDATA_LEAST_RATE` | `least_rate=` | `10000` | bytes a second at which what comes gives patience back: a server that is slower over a long time is left |
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from atdata.arguments import checked_service, path_text
from atdata.errors import UsageError
from atdata.paths import checked_path
from atdata.redaction import Secret, secret

DEFAULT_PLC_URL = "https://plc.directory"


@dataclass(frozen=True)
class Settings:
    """One resolved set of settings. `Settings.of()` reads the environment; arguments win over it."""

    plc_url: str = DEFAULT_PLC_URL
    resolver_urls: tuple[str, ...] = ()
    allow_loopback: bool = False
    cache: Path = Path()
    data: Path = Path()
    index_url: Secret | None = None  # there may be a password in it
    patience: float = 300.0
    least_rate: float = 10_000.0
    public_query: tuple[str, ...] = ()
    lens_interpreter: str | None = None
    policy: Path | None = None
    appview_urls: tuple[str, ...] = ()

    @property
    def index_file(self) -> Path:
        """The file of the index where no other place is set."""
        return self.data / "index.sqlite"

    @classmethod
    def of(
        cls,
        *,
        plc_url: str | None = None,
        resolver_url: str | None = None,
        appview_url: str | None = None,
        allow_loopback: bool | None = None,
        cache: str | os.PathLike[str] | None = None,
        data: str | os.PathLike[str] | None = None,
        index_url: str | None = None,
        patience: float | None = None,
        least_rate: float | None = None,
        public_query: str | None = None,
        lens_interpreter: str | None = None,
        policy: str | os.PathLike[str] | None = None,
    ) -> Settings:
        """The settings in force: each argument where given, else its variable, else its default.

        Raises:
            UsageError: a variable has a value that cannot be meant.
        """
        plc_url, index_url = secret(plc_url), secret(index_url)
        given = {"plc_url": plc_url, "cache": cache, "data": data, "index_url": index_url, "policy": policy}
        for name, value in given.items():
            if value is not None and not path_text(value, name):
                raise UsageError(f"{name}= is an empty string", hint="Leave it out to use the environment.")
        if allow_loopback is None:
            allow_loopback = _switch("ATDATA_ALLOW_LOOPBACK", _variable("ATDATA_ALLOW_LOOPBACK"))
        plc_url = Secret(plc_url or _variable("ATDATA_PLC_URL") or DEFAULT_PLC_URL)  # none, if it turns out to have any
        resolver_url = Secret(_variable("ATDATA_RESOLVER_URL") if resolver_url is None else resolver_url)
        appview_url = Secret(_variable("ATDATA_APPVIEW_URL") if appview_url is None else appview_url)
        query = _variable("ATDATA_PUBLIC_QUERY") if public_query is None else public_query
        return cls(
            plc_url=checked_service(plc_url, "ATDATA_PLC_URL"),
            resolver_urls=_services(resolver_url, "ATDATA_RESOLVER_URL"),
            appview_urls=_services(appview_url, "ATDATA_APPVIEW_URL"),
            allow_loopback=allow_loopback,
            cache=_folder(cache, _variable("ATDATA_CACHE"), "cache"),
            data=_folder(data, _variable("ATDATA_DATA"), "data"),
            index_url=secret(index_url or _variable("ATDATA_INDEX_URL") or None),
            public_query=tuple(map(Secret.reveal, _listed(query))),
            lens_interpreter=_release(lens_interpreter or _variable("ATDATA_LENS_INTERPRETER") or None),
            policy=checked_path(chosen) if (chosen := policy or _variable("ATDATA_POLICY")) else None,
            patience=_number("ATDATA_PATIENCE", patience, cls.patience),
            least_rate=_number("ATDATA_LEAST_RATE", least_rate, cls.least_rate),
        )


STRICT = Settings()
"""The strictest settings: they allow nothing, whatever the environment says."""


def _variable(name: str) -> str:
    return os.environ.get(name, "")  # asked for here: nobody else holds the environment, in which there are passwords


def _switch(name: str, text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("", "0", "false", "no", "off"):
        return False
    raise UsageError(
        f"{name} is neither on nor off", expected="1 or 0", actual=text, hint=f"Set {name}=1, or unset it."
    )


def _number(name: str, argument: float | None, default: float) -> float:
    text = str(argument) if argument is not None else _variable(name) or str(default)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise UsageError(f"{name} is not a number above 0", actual=text, hint=f"Set {name}={default:g}, or unset it.")
    return number


def _listed(text: str) -> Iterator[Secret]:
    return (Secret(part.strip()) for part in text.split(",") if part.strip())


def _services(text: str, name: str) -> tuple[str, ...]:
    return tuple(checked_service(part, name) for part in _listed(text))


def _release(text: str | None) -> str | None:
    if text is None or re.fullmatch(r"https://[^\s@]+@[0-9a-f]{40}", text):
        return text
    raise UsageError(
        "ATDATA_LENS_INTERPRETER names no commit of a public repository",
        expected="https://REPOSITORY@COMMIT, with 40 hexadecimal digits",
        actual=text,
    )


def _folder(argument: str | os.PathLike[str] | None, variable: str | None, kind: str) -> Path:
    if chosen := argument or variable:
        return checked_path(chosen)
    import platformdirs  # only where no folder was chosen

    if kind == "cache":
        return Path(platformdirs.user_cache_dir("atdata", appauthor=False))
    return Path(platformdirs.user_data_dir("atdata", appauthor=False))
