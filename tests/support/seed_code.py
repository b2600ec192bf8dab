"""The code of the founding documents, taken from their text.

The texts were scraped from web pages: headings are glued to the last line of the code before them, and indentation
is lost (the tutorial) or flattened to one space (the reference). A block is named by its first and its last line;
both are looked for in the order of the document, and the last line is cut where the named text ends. Indentation is
restored by the rules of `indented`. Nothing else is changed, except by the one table `REPLACEMENTS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from support.oracles import SEEDS


@dataclass(frozen=True)
class Block:
    """One code block: where it stands, and its code as restored, before replacements."""

    document: str
    line: int
    code: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


# A statement that begins after a `with` or `for` without a blank line or comment to say so.
AFTER_A_BLOCK = ('dataset = atdata.Dataset[FeatureSample]("temp.tar")',)

TUTORIAL = [
    ("import numpy as np", "import webdataset as wds"),
    ("@atdata.packable", "source: str"),
    (
        "from dataclasses import fields, is_dataclass",
        'print(f"Round-trip successful: {np.allclose(sample.image, restored.image)}")',
    ),
    ("uris = [", 'print(f" Rkey: {uri.rkey}")'),
    ("client = AtmosphereClient()", 'print(f"DID: {client.did}")'),
    ("schema_publisher = SchemaPublisher(client)", 'print(f"Schema URI: {schema_uri}")'),
    (
        "schema_loader = SchemaLoader(client)",
        """print(f" - {schema.get('name', 'Unknown')}: v{schema.get('version', '?')}")""",
    ),
    ("dataset_publisher = DatasetPublisher(client)", 'print(f"Dataset URI: {dataset_uri}")'),
    ("# Create store and index with blob storage", 'print(f"Blob URLs: {entry.data_urls}") # at://did/blob/cid format'),
    ("# Create source from the blob URLs", "print(batch.features.shape)"),
    ("dataset_publisher = DatasetPublisher(client)", 'print(f"Dataset URI: {dataset_uri}")'),
    ("dataset_loader = DatasetLoader(client)", """print(f" Tags: {', '.join(tags)}")"""),
    ("# Check storage type", 'print(f"Sample id={batch.id}, text={batch.text}")'),
]
TUTORIAL_WORKFLOW = [("# 1. Define and create samples", "break")]

REFERENCE = [
    ("from atdata.atmosphere import AtmosphereClient", "print(client.handle)"),
    ("# Export session for later", "new_client.login_with_session(session_string)"),
    (
        'client = AtmosphereClient(base_url="https://pds.example.com")',
        'client = AtmosphereClient(base_url="https://pds.example.com")',
    ),
    ("from atdata.atmosphere import AtmosphereClient, PDSBlobStore", "ds = atdata.Dataset[MySample](source)"),
    ("urls = store.write_shards(", ")"),
    ("from atdata import BlobSource", " process(batch)"),
    (
        "from atdata.atmosphere import AtmosphereClient, AtmosphereIndex, PDSBlobStore",
        "index = AtmosphereIndex(client, data_store=store)",
    ),
    ("import atdata", '# Returns: "at://'),
    ('dataset = atdata.Dataset[ImageSample]("data-{000000..000009}.tar")', "print(entry.data_urls)"),
    ("# List your datasets", "SampleType = index.decode_schema(schema_uri)"),
    ("from atdata.atmosphere import SchemaPublisher", ")"),
    ("from atdata.atmosphere import DatasetPublisher", ")"),
    ("from atdata.atmosphere import PDSBlobStore, AtmosphereIndex", "ds = atdata.Dataset[MySample](source)"),
    ("import io", ' tags=["small", "demo"],\n)'),
    ("from atdata.atmosphere import DatasetLoader", " process(batch)"),
    ("from atdata.atmosphere import LensPublisher", " },\n)"),
    ("# Or publish from a Lens object", " target_schema=simple_schema_uri,\n)"),
    ("from atdata.atmosphere import SchemaLoader", ' print(schema["name"])'),
    ("from atdata.atmosphere import DatasetLoader", " process(batch)"),
    (
        "from atdata.atmosphere import LensLoader",
        ' target_schema_uri="at://did:plc:abc/ac.foundation.dataset.sampleSchema/target",\n)',
    ),
    ("from atdata.atmosphere import AtUri", "print(str(uri))"),
]
REFERENCE_WORKFLOW = [
    ("import numpy as np", " print(batch.features.shape)\n break"),
    ("# Use AtmosphereIndex without data_store", "ds = atdata.Dataset[FeatureSample](entry.data_urls[0])"),
]

PUBLISHER = [(">>> dataset = atdata.Dataset", "... )")]

PROMOTION = [
    ("from atdata.local import LocalIndex", 'print(f"Published: {at_uri}")'),
    ("at_uri = promote_to_atmosphere(", ")"),
    ("# First promotion: publishes schema", "uri2 = promote_to_atmosphere(entry2, local_index, client)"),
    ("# Data stays in original S3 location", "at_uri = promote_to_atmosphere(entry, local_index, client)"),
    ("from atdata.local import S3DataStore", " data_store=new_store, # Copy data to new storage\n)"),
]
PROMOTION_WORKFLOW = [("import numpy as np", 'print(f"URLs: {entry.data_urls}")')]
PROMOTION_ERRORS = [("try:", ' print(f"Invalid entry: {e}")')]


def blocks(document: str, named: Iterable[tuple[str, str]], after: str = "") -> list[Block]:
    """The named code blocks of a document, in order; `after` is a line to begin at."""
    text = (SEEDS / document).read_text("utf-8")
    position = text.index(f"\n{after}\n") + 1 if after else 0
    found = []
    for first, last in named:
        start = _line_start(text, first, position)
        end = _line_start(text, last, start) + len(last)
        raw = text[start:end]
        if first.startswith(">>>"):
            raw = "\n".join(line[4:] for line in raw.splitlines())
        found.append(Block(Path(document).stem, text.count("\n", 0, start) + 1, indented(raw)))
        position = end
    return found


def _line_start(text: str, line: str, position: int) -> int:
    """Where a line with this beginning starts, at or after a position."""
    match = re.compile(rf"^{re.escape(line)}", re.MULTILINE).search(text, position)
    assert match, f"no such line after {position}: {line!r}"
    return match.start()


def indented(raw: str) -> str:
    """Code with its indentation restored.

    Inside brackets indentation means nothing. After a line that ends with a colon the next is one deeper. Where the
    text kept one space for every depth, a line without it is at depth 0, and one with it stays in the block it is in.
    Where the text kept nothing, a block ends at a comment, a decorator, a blank line, or what `AFTER_A_BLOCK` lists,
    and the body of a class has only fields and docstrings.
    """
    flattened = any(line.startswith(" ") for line in raw.splitlines())
    restored, depth, brackets, in_class, was_class = [], 0, 0, False, False
    for line in raw.splitlines():
        bare = line.strip()
        if not brackets:
            in_class = in_class and bool(re.match(r'\w+: |"""', bare))
            ends = bare.startswith(("#", "@")) or not bare or bare in AFTER_A_BLOCK or (was_class and not in_class)
            if flattened:
                ends = bool(bare) and not line.startswith(" ")
            if ends:
                depth = 0
        restored.append("    " * depth + bare)
        code = re.sub(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""", '""', bare).split("#")[0].rstrip()
        brackets += sum(code.count(c) for c in "([{") - sum(code.count(c) for c in ")]}")
        if code.endswith(":") and not brackets:
            depth += 1
            in_class = bare.startswith("class ")
        was_class = in_class
    return "\n".join(restored) + "\n"


# The one table of replacements: addresses, credentials, placeholders. `{...}` names what the test provides.
REPLACEMENTS = {
    # accounts and credentials
    '"your.handle.social"': "{handle}",
    '"alice.bsky.social"': "{handle}",
    '"handle.bsky.social"': "{handle}",
    '"myhandle.bsky.social"': "{handle}",
    'client.login("handle", "password")': "client.login({handle}, {password})",
    '"your-app-password"': "{password}",
    '"app-password"': "{password}",
    '"https://pds.example.com"': "{pds_url}",
    '"did:plc:other-user"': "{other_did}",
    '"http://localhost:9000"': "{s3_url}",
    '"AWS_ACCESS_KEY_ID": "minioadmin"': '"AWS_ACCESS_KEY_ID": {s3_key}',
    '"AWS_SECRET_ACCESS_KEY": "minioadmin"': '"AWS_SECRET_ACCESS_KEY": {s3_secret}',
    '"datasets-bucket"': "{bucket}",
    '"public-datasets"': "{other_bucket}",
    # placeholders for addresses of records and blobs
    '"cid": "bafyrei..."': '"cid": {cid}',
    '"did": "did:plc:abc123", "cid": "bafyrei111"': '"did": {did}, "cid": {cid}',
    '"did": "did:plc:abc123", "cid": "bafyrei222"': '"did": {did}, "cid": {cid}',
    '"at://did:plc:.../ac.foundation.dataset.record/..."': "{entry_uri}",
    'loader.get("at://did:plc:abc/ac.foundation.dataset.sampleSchema/xyz")': "loader.get({schema_uri})",
    'loader.get("at://did:plc:abc/ac.foundation.dataset.record/xyz")': "loader.get({entry_uri})",
    'loader.get("at://did:plc:abc/ac.foundation.dataset.lens/xyz")': "loader.get({lens_uri})",
    '"at://did:plc:abc/ac.foundation.dataset.sampleSchema/source"': "{schema_uri}",
    '"at://did:plc:abc/ac.foundation.dataset.sampleSchema/target"': "{target_uri}",
    '"abc123def..."': '"' + "abc123def0" * 4 + '"',
}


def replaced(code: str, values: dict[str, str]) -> str:
    """The code with the table's replacements made, the provided values as literals."""
    for old, new in REPLACEMENTS.items():
        for name, value in values.items():
            new = new.replace("{" + name + "}", repr(str(value)))
        code = code.replace(old, new)
    return code
