"""Trust from outside: a service in a process of its own, and the search without one, over the same network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.appview import operator
from atdata.appview.opening import open_appview
from atdata.atmosphere import (
    AppViewClient,
    AtmosphereIndex,
    LensPublisher,
    PDSBlobStore,
    SchemaPublisher,
    VerificationPublisher,
)
from atdata.discovery import Discovery
from atdata.errors import IdentifierError
from atdata.lens import Program
from atdata.testing import Devnet
from support.appviews import Asker
from support.ingesting import until
from support.networks import fresh_handle


@atdata.packable
class Full:
    label: str
    score: float


@atdata.packable
class Simple:
    label: str


@contextmanager
def serving(devnet: Devnet, folder: Path) -> Iterator[Asker]:
    database = f"sqlite://{folder}/appview.db"
    upstream = "ws" + devnet.pds_url.removeprefix("http")
    command = [sys.executable, "-m", "atdata", "serve", "--listen", "127.0.0.1:0", "--json"]
    command += ["--database", database, "--upstream", upstream]
    known = {**os.environ, **devnet.environment}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=known) as process:
        try:
            assert process.stdout is not None
            asker = Asker(json.loads(process.stdout.readline())["url"])
            yield asker
            asker.close()
        finally:
            process.terminate()
            process.wait(60)


def test_what_is_trusted_is_found_alike_with_a_service_and_without(tmp_path: Path) -> None:
    with Devnet() as net:
        alice, bob = (net.create_account(fresh_handle()) for _ in range(2))
        labeler = net.create_labeler()
        client = net.client(alice)
        schemas = SchemaPublisher(client)
        ends = {"source_schema": schemas.publish(Full), "target_schema": schemas.publish(Simple)}
        keep = Program.of({"op": "drop", "field": "score"})
        lens = str(LensPublisher(client).publish(name="keep", program=keep, rkey="keep", **ends))
        index = AtmosphereIndex(client, data_store=PDSBlobStore(client))
        dataset = atdata.write_samples([Full("a", 1.0)], tmp_path / "a.tar")
        entry = index.insert_dataset(dataset, name="scored", schema_ref=str(ends["source_schema"]))
        verification = VerificationPublisher(net.client(bob)).publish(lens, "codeReview")
        labeler.label(entry.located, "retracted", entry.cid)
        question = f"kind:dataset reaches:{ends['target_schema']}"

        # without a service, by a policy
        reader = net.client()
        policy = tmp_path / "policy.toml"
        policy.write_text(
            f'[[verify]]\nverifiers = ["{bob.did}"]\n\n[[forbid]]\nlabels = ["retracted"]\nlabelers = ["{labeler.did}"]\n'
        )
        trusting = type(reader)(
            plc_url=reader.settings.plc_url,
            resolver_url=net.environment["ATDATA_RESOLVER_URL"],
            allow_loopback=True,
            cache=reader.settings.cache,
            data=reader.settings.data,
            policy=str(policy),
        )
        found = Discovery(trusting)
        assert [item.error for item in found.bring([alice.handle, bob.handle])] == [None, None]
        (hit,) = found.search(question).hits
        assert hit.way is not None
        (through,) = hit.way
        assert (through.uri, through.verifiers) == (lens, ((bob.did, "codeReview"),))
        assert [len(found.search(f"{question} {more}labelled:retracted").hits) for more in ("", "-")] == [1, 0]
        assert Discovery(reader).search(question).hits == ()  # without a policy nobody is trusted
        assert len(found.search(question, verifiers=[alice.did]).hits) == 0
        assert len(Discovery(reader).search(question, verifiers=[bob.did]).hits) == 1
        with pytest.raises(IdentifierError):
            found.search(question, verifiers=["bob.example"])
        Discovery(reader).bring([], fresh=0)  # whoever has no policy follows no labeler
        assert found.search("labelled:retracted").hits == ()
        found.bring([], fresh=0)
        assert len(found.search("labelled:retracted").hits) == 1

        # by a service, as its operator decides
        with serving(net, tmp_path) as asker:
            replica = open_appview(f"sqlite://{tmp_path}/appview.db")

            def ask(text: str) -> list[dict[str, Any]]:
                return list(asker.get("searchDatasets", q=text).json["entries"])

            until(lambda: asker.get("listVerifications").json["verifications"] != [] and ask("scored") != [])
            assert ask(question) == []
            service = AppViewClient(asker.url, reader)
            asked = {"by its own list": None, "alice's": [alice.did], "both": [alice.did, bob.did]}
            found_by = {
                whose: [one.record.name for one in service.search(question, verifiers=given)]
                for whose, given in asked.items()
            }
            assert found_by == {"by its own list": [], "alice's": [], "both": ["scored"]}
            with pytest.raises(IdentifierError):
                service.search(question, verifiers=["bob.example"])
            told = ["search", question, "--service", asker.url, "--verifier", bob.did, "--json"]
            known = {**os.environ, **net.environment, "ATDATA_CACHE": str(tmp_path / "cache")}
            done = subprocess.run([sys.executable, "-m", "atdata", *told], capture_output=True, check=True, env=known)
            assert [hit["name"] for hit in json.loads(done.stdout)["hits"]] == ["scored"]
            operator.trust_verifier(replica, bob.did, "reads each line")
            (view,) = ask(question)
            verifiers = [{"did": bob.did, "method": "codeReview"}]
            assert view["way"] == [{"lens": lens, "cid": str(through.cid), "verifiers": verifiers}]
            (shown,) = asker.get("getLens", uri=lens).json["lens"]["verifications"]
            assert (shown["uri"], shown["standing"]["trust"]) == (str(verification), "trusted")
            operator.follow_labeler(replica, labeler.did, "looks at data")
            until(lambda: ask("labelled:retracted") != [])
            (label,) = ask("labelled:retracted")[0]["labels"]
            assert (label["val"], label["src"], label["concerns"]) == ("retracted", labeler.did, "this")
            labeler.negate(entry.located, "retracted", entry.cid)
            until(lambda: ask("labelled:retracted") == [])
            replica.close()
