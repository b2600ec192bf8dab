"""What the page about deployment says to type: each rule does what the page says it does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

import pytest

import atdata
from atdata.errors import AuthError
from atdata.local import LocalIndex
from atdata.testing.services import CephServer, PostgresServer, RedisServer
from support.services import postgres_connection, redis_client, running, temporary

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[1] / "docs" / "deployment.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def as_user(url: str, user: str, password: str, path: str | None = None) -> str:
    parts = urlsplit(url)
    return urlunsplit(
        parts._replace(netloc=f"{user}:{password}@{parts.hostname}:{parts.port}", path=path or parts.path)
    )


@atdata.packable
class Point:
    x: float


def insert(index: LocalIndex, folder: Path) -> None:
    dataset = atdata.write_samples([Point(1.0)], str(folder / "points.tar"))
    index.insert_dataset(dataset, name="points")


def test_the_roles_of_postgres(postgres_server: PostgresServer, tmp_path: Path) -> None:
    server, inside = blocks("sql")
    server, database = server.replace(" atdata ", " atdata_team "), "/atdata_team"  # `atdata` is there already
    with postgres_connection(postgres_server.url) as connection:
        for statement in filter(str.strip, server.split(";")):
            connection.execute(statement)
    try:
        with postgres_connection(urlunsplit(urlsplit(postgres_server.url)._replace(path=database))) as connection:
            for statement in filter(str.strip, inside.split(";")):
                connection.execute(statement)
        writer = as_user(postgres_server.url, "atdata_writer", "a%20long%20random%20one", database)
        reader = as_user(postgres_server.url, "atdata_reader", "another", database)
        insert(LocalIndex(writer), tmp_path)
        assert [entry.name for entry in LocalIndex(reader).list_datasets()] == ["points"]
        with pytest.raises(AuthError, match="PostgreSQL does not let this user do that"):
            LocalIndex(reader).publish_schema(Point, version="9.0.0")
    finally:
        with postgres_connection(postgres_server.url) as connection:
            connection.execute("DROP DATABASE atdata_team WITH (FORCE)")
            connection.execute("DROP ROLE atdata_writer")
            connection.execute("DROP ROLE atdata_reader")


def test_the_user_of_redis_reaches_the_index_and_nothing_else(redis_server: RedisServer, tmp_path: Path) -> None:
    from redis.exceptions import NoPermissionError

    (rule,) = [line for block in blocks("text") for line in block.splitlines() if line.startswith("ACL ")]
    try:
        with redis_client(redis_server.url) as client:
            client.execute_command(*rule.split())
        url = as_user(redis_server.url, "atdata", "a-long-random-one")
        index = LocalIndex(url)
        insert(index, tmp_path)
        assert [entry.name for entry in index.list_datasets()] == ["points"]
        with redis_client(url) as client:
            for command in (
                ["SET", "other", "1"],
                ["GET", "other"],
                ["FLUSHALL"],
                ["CONFIG", "GET", "*"],
                ["KEYS", "*"],
            ):
                with pytest.raises(NoPermissionError):
                    client.execute_command(*command)
    finally:
        with redis_client(redis_server.url) as client:
            client.execute_command("ACL", "DELUSER", "atdata")
            client.flushdb()


def test_the_settings_of_redis_are_settings(redis_server: RedisServer) -> None:
    with redis_client(redis_server.url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        assert client.config_get("append*")["appendonly"] == "yes", "as the trial server has it"
        assert set(client.config_get("tls-port")) in ({"tls-port"}, set()), "where it was built with TLS"


def test_policies_are_policies() -> None:
    team, public = map(json.loads, blocks("json"))
    for policy in (team, public):
        assert policy["Version"] == "2012-10-17"
        assert all(statement["Effect"] == "Allow" for statement in policy["Statement"])
    actions = [action for statement in team["Statement"] for action in statement["Action"]]
    assert not [action for action in actions if "Delete" in action or "*" in action]
    assert all("Principal" not in statement for statement in team["Statement"]), "for one's own people only"
    (statement,) = public["Statement"]
    assert (statement["Principal"], statement["Action"]) == ("*", "s3:GetObject")


@pytest.fixture
def ceph(served: None) -> Any:
    with temporary("ceph-") as folder, running(CephServer(folder / "ceph")) as server:
        yield server


def test_the_public_policy_opens_one_prefix_for_reading(ceph: CephServer) -> None:
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed")
    known = ceph.environment
    client = boto3.client(
        "s3",
        endpoint_url=ceph.url,
        region_name=known["AWS_DEFAULT_REGION"],
        aws_access_key_id=known["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=known["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket="team-public")
    for key in ("promoted/a", "drafts/a"):
        client.put_object(Bucket="team-public", Key=key, Body=b"bytes")
    places = ("promoted/a", "drafts/a", "")
    assert [reads(f"{ceph.url}/team-public/{place}") for place in places] == [None, None, None]
    client.put_bucket_policy(Bucket="team-public", Policy=blocks("json")[1])
    assert [reads(f"{ceph.url}/team-public/{place}") for place in places] == [b"bytes", None, None]


def reads(url: str) -> bytes | None:
    """What a stranger gets; `None` where they are refused."""
    try:
        with urlopen(url, timeout=30) as answer:
            return answer.read()
    except HTTPError as error:
        with error:
            return None if error.code == 403 else b"%d" % error.code
