"""`atdata appview`: what the operator of an AppView does with its database, also while `atdata serve` runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
from msgspec import structs

from atdata.appview import operator
from atdata.appview.opening import open_appview
from atdata.atproto.resolve import resolve_handle
from atdata.atproto.syntax import AtUri, Did, parse_identifier
from atdata.cli.groups import CommandGroup
from atdata.cli.options import Whole, json_option, kept_at
from atdata.cli.output import facts, note, plural, say, say_json, size, table
from atdata.databases import is_there
from atdata.errors import NotFoundError, UsageError
from atdata.progress import progress
from atdata.replica import KeptIdentity, Replica
from atdata.settings import Settings
from atdata.transport import Transport
from atdata.trust import FollowedLabeler, VerifierList

app = CommandGroup("appview", help="What the operator of an AppView does with its database.")

database_option = click.option("--database", help="Where atdata serve keeps it: sqlite:///PATH or postgresql://...")
accounts_argument = click.argument("who", nargs=-1, required=True, help="DIDs or handles.")
_PAUSE = 0.2


@app.command("add")
@accounts_argument
@database_option
@json_option
def add(who: tuple[str, ...], database: str | None, json: bool) -> None:
    """Follow accounts that no upstream lists; the process that follows upstreams fetches and verifies them."""
    with _opened(database) as replica:
        dids = [_account(replica, name) for name in who]
        for did in dids:
            operator.add(replica, did)
    _tell({"added": dids}, f"{plural(len(dids), 'account')} will be fetched.", json)


@app.command("reindex")
@click.argument("who", nargs=-1, help="DIDs or handles; with --all every account.")
@click.option("--all", "every", is_flag=True, help="All accounts that are followed.")
@click.option("--wait", is_flag=True, help="End once all were fetched, or failed.")
@database_option
@json_option
def reindex(who: tuple[str, ...], every: bool, wait: bool, database: str | None, json: bool) -> None:
    """Fetch repositories anew, whatever is kept of them. They are shown as they were until then."""
    if bool(who) == every:
        raise UsageError("reindex takes accounts, or --all", hint="Name them, or say --all.")
    with _opened(database) as replica:
        dids = operator.accounts(replica) if every else [_account(replica, name) for name in who]
        with progress("marking", len(dids), "accounts") as bar:
            bar.begin("marking", len(dids))
            for did in dids:
                operator.reindex(replica, did)
                bar.advance(1)
        if wait and not operator.status(replica).ingesting:
            note("no process follows just now: they are fetched once one does, which is waited for")
        failing = _wait(replica, dids) if wait else None
    said = {"marked": dids} | ({} if failing is None else {"failing": failing})
    words = f"{plural(len(dids), 'repository')} will be fetched anew." if failing is None else "Done."
    _tell(said, words if not failing else f"Of {len(dids)}, these failed so far: {', '.join(failing)}", json)
    if failing:
        raise click.exceptions.Exit(1)


@app.command("takedown")
@click.argument(
    "subject", required=False, help="A DID or handle, or at://DID/COLLECTION/KEY; without one, what was decided."
)
@click.option("--reason", help="Why; it is kept, and shown to nobody else.")
@click.option("--block", is_flag=True, help="Keep nothing of the account, now and later.")
@click.option("--lift", is_flag=True, help="Take a decision back.")
@database_option
@json_option
def takedown(
    subject: str | None, reason: str | None, block: bool, lift: bool, database: str | None, json: bool
) -> None:
    """Hide an account or a record from every answer, at once, whatever upstreams say; or list what is hidden so."""
    with _opened(database) as replica:
        if subject is None:
            if reason is not None or block or lift:
                raise UsageError("nothing is named to decide about", hint="Give a DID, a handle or an address.")
            _list_decisions(operator.decisions(replica), json)
            return
        chosen = _subject(replica, subject)
        if lift == (reason is not None) or (lift and block):
            raise UsageError("a takedown takes --reason WHY, or --lift", hint="Give one of the two.")
        known = None
        if lift:
            operator.restore(replica, chosen)
        else:
            known = operator.takedown(replica, chosen, reason or "", "block" if block else "takedown")
    done = "lifted" if lift else "block" if block else "takedown"
    words = {
        "lifted": "is decided about no more.",
        "block": "is hidden, and nothing of it is kept.",
        "takedown": "is hidden.",
    }
    said = {"subject": chosen, "decision": done} | ({} if known is None else {"known": known})
    _tell(said, f"{chosen} {words[done]}", json)
    if known is False:
        note("nothing of it is known here yet; whatever comes of it will be hidden. Look whether the address is right")


@app.command("trust")
@click.argument("who", required=False, help="A DID or handle; without one, the list is shown.")
@click.option("--reason", help="Why; everybody may read it.")
@click.option(
    "--method",
    multiple=True,
    help="A method of verification of which its word counts; several times for more, else all.",
)
@click.option("--remove", is_flag=True, help="Take it off the list.")
@database_option
@json_option
def trust(
    who: str | None, reason: str | None, method: tuple[str, ...], remove: bool, database: str | None, json: bool
) -> None:
    """Put an account on the public list of trusted verifiers of lenses, or take it off; or show the list."""
    with _opened(database) as replica:
        if who is None:
            if reason is not None or method or remove:
                raise UsageError("nobody is named to trust", hint="Give a DID or handle.")
            _list_verifiers(operator.trusted_verifiers(replica), json)
            return
        did = _account(replica, who)
        if remove and method:
            raise UsageError("--remove takes an account off for all methods", hint="Leave --method out.")
        if remove:
            version = operator.distrust_verifier(replica, did, reason or "")
        else:
            version = operator.trust_verifier(replica, did, reason or "", method)
    words = f"{did} is {'off' if remove else 'on'} the list of trusted verifiers, which is version {version} now."
    _tell({"did": did, "version": version, "trusted": not remove}, words, json)


@app.command("labeler")
@click.argument("who", required=False, help="A DID or handle; without one, those followed are shown.")
@click.option("--reason", help="Why; everybody may read it.")
@click.option("--remove", is_flag=True, help="Follow it no more, and forget its labels.")
@database_option
@json_option
def labeler(who: str | None, reason: str | None, remove: bool, database: str | None, json: bool) -> None:
    """Follow a labeler, so that its labels are shown and searched; or no more; or show those that are followed."""
    with _opened(database) as replica:
        if who is None:
            if reason is not None or remove:
                raise UsageError("no labeler is named", hint="Give a DID or handle.")
            _list_labelers(operator.followed_labelers(replica), json)
            return
        if remove and reason is not None:
            raise UsageError("--remove needs no reason", hint="Leave --reason out.")
        did = _account(replica, who)
        if remove:
            operator.unfollow_labeler(replica, did)
        else:
            operator.follow_labeler(replica, did, reason or "")
    _tell({"did": did, "followed": not remove}, f"{did} is {'not followed' if remove else 'followed'} now.", json)


@app.command("status")
@click.option(
    "--rejected",
    type=Whole(min=0, max=10_000),
    default=0,
    help="Of what could not be taken, how many to show.",
)
@database_option
@json_option
def status(rejected: int, database: str | None, json: bool) -> None:
    """Say how far upstreams were read, and what is kept, behind, failing and refused."""
    with _opened(database) as replica:
        state, refused = operator.status(replica), operator.rejected(replica, rejected) if rejected else []
    if json:
        listed = [{**asdict(item), "head": item.head.hex()} for item in refused]
        say_json({**asdict(state), **({"refused": listed} if rejected else {})})
        return
    columns = ["upstream", "read to", "last event", "accounts listed"]
    rows = [
        [
            each.url,
            "" if each.cursor is None else f"{each.cursor:,}",
            _ago(state, each.event_at),
            _ago(state, each.listed_at),
        ]
        for each in state.upstreams
    ]
    table(columns, rows)
    say()
    facts(
        {
            "a process follows them": "yes" if state.ingesting else "no",
            "accounts": ", ".join(f"{count:,} {word}" for word, count in sorted(state.accounts.items())) or "none",
            "records": f"{state.records:,}",
            "to be compared": f"{state.behind:,}, of which {state.failing:,} failed before",
            "search": f"{plural(state.search_pending, 'task')} left" if state.search_pending else "up to date",
            "changes kept": f"{state.changes:,}",
            "refused so far": f"{state.rejected:,}",
            "database": size(state.bytes),
        }
    )
    if refused:
        say()
        table(["what", "of", "number", "why"], [[r.what, r.did or "", r.seq or "", r.reason] for r in refused])


@app.command("replay")
@click.argument("upstream", help="wss://HOST, as it was given to `atdata serve`.")
@click.argument("cursor", type=Whole(min=0), help="The number after which to read again.")
@database_option
@json_option
def replay(upstream: str, cursor: int, database: str | None, json: bool) -> None:
    """Read an upstream again from the events after a number. What is known already changes nothing."""
    with _opened(database) as replica:
        operator.replay(replica, upstream, cursor)
    _tell({"upstream": upstream, "cursor": cursor}, f"{upstream} will be read again after {cursor:,}.", json)


@app.command("rebuild")
@database_option
@json_option
def rebuild(database: str | None, json: bool) -> None:
    """Make all that is derived from records anew: columns, links, the search. Nothing is fetched."""
    with _opened(database) as replica:
        dids = operator.accounts(replica)
        with progress("rebuilding", len(dids), "accounts") as bar:
            bar.begin("rebuilding", len(dids))
            count = 0
            for did in dids:
                count += operator.rebuild(replica, did)
                bar.advance(1)
    _tell({"records": count}, f"What is derived from {plural(count, 'record')} was made anew.", json)


@contextmanager
def _opened(database: str | None) -> Iterator[Replica]:
    """The database of an AppView, which must be there.

    Raises:
        NotFoundError: it is not.
    """
    where = kept_at(database)
    if not is_there(where, what="the database of the AppView"):
        raise NotFoundError(
            "there is no database of an AppView", path=where, hint="atdata serve makes it. See --database."
        )
    replica = open_appview(where)
    try:
        yield replica
    finally:
        replica.close()


def _account(replica: Replica, text: str) -> Did:
    who = parse_identifier(text.removeprefix("@"))
    if isinstance(who, Did):
        return who
    kept = replica.read(lambda reading: KeptIdentity.of_handle(reading, who))
    if kept is not None:
        return kept.did
    config = Settings.of()
    transport = Transport.of(config).trusting(*config.resolver_urls)
    return transport.run(resolve_handle(who, config.resolver_urls))[0]


def _subject(replica: Replica, text: str) -> Did | AtUri:
    if not text.startswith("at://"):
        return _account(replica, text)
    uri = AtUri(text)
    return uri.with_authority(_account(replica, str(uri.authority)))


def _wait(replica: Replica, dids: list[Did]) -> list[Did]:
    """Wait until repositories were compared, or failed; those that did."""
    left, failing = set(dids), list[Did]()
    with progress("fetching", len(dids), "accounts") as bar:
        bar.begin("fetching", len(dids))
        while left:
            tries = operator.marked(replica)
            done = {did for did in left if tries.get(did, 1)}
            failing += sorted(done & tries.keys())
            left -= done
            bar.advance(len(done))
            if left:
                time.sleep(_PAUSE)
    return failing


def _list_decisions(found: list[operator.OperatorDecision], json: bool) -> None:
    if json:
        say_json([asdict(decided) for decided in found])
    elif found:
        rows = [[decided.subject, decided.decision, _moment(decided.since), decided.why] for decided in found]
        table(["subject", "decision", "since", "why"], rows)
    else:
        say("Nothing was decided here.")


def _list_verifiers(found: VerifierList, json: bool) -> None:
    verifiers = list(found.verifiers.values())
    if json:
        say_json({"version": found.version, "verifiers": [structs.asdict(each) for each in verifiers]})
    elif verifiers:
        rows = [[each.did, ", ".join(each.methods) or "all", _moment(each.since), each.why] for each in verifiers]
        table(["verifier", "methods", "since", "why"], rows)
    else:
        say("No verifier is trusted here.")


def _list_labelers(found: list[FollowedLabeler], json: bool) -> None:
    if json:
        say_json([structs.asdict(each) for each in found])
    elif found:
        rows = [
            [each.did, _moment(each.since), _moment(each.read_at) if each.read_at else "never", each.failure, each.why]
            for each in found
        ]
        table(["labeler", "since", "read", "failure", "why"], rows)
    else:
        say("No labeler is followed here.")


def _tell(said: dict[str, Any], words: str, json: bool) -> None:
    if json:
        say_json(said)
    else:
        say(words)


def _moment(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%Y-%m-%d %H:%M")


def _ago(state: operator.IngestStatus, moment: int) -> str:
    seconds = max(0, (state.moment - moment) // 1_000_000)
    return "never" if moment <= 0 else f"{seconds:,} s ago"
