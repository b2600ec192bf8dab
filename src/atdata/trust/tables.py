"""The tables of trust."""

from __future__ import annotations

from atdata.databases import SqlTables

_FIRST = (
    # Every change of the list of trusted verifiers, in order; version 0 is the empty list. `methods` are names with
    # commas between them, none for any; it is none where the verifier was taken off the list.
    """CREATE TABLE trust_changes (
        version {integer} NOT NULL PRIMARY KEY,
        moment {integer} NOT NULL,
        did {text} NOT NULL,
        methods {text},
        why {bytes} NOT NULL
    )""",
    "CREATE INDEX trust_changes_did ON trust_changes (did, version)",
    # One row, which who changes the list holds.
    "CREATE TABLE trust_lock (one {integer} PRIMARY KEY)",
    "INSERT INTO trust_lock VALUES (1)",
)

_SECOND = (
    # The labelers that are followed. `cursor` is their own word for how far they were read, none for the beginning;
    # `read_at` is when they were last read to the end, `failure` why the last try came to nothing.
    """CREATE TABLE trust_labelers (
        did {text} NOT NULL PRIMARY KEY,
        since {integer} NOT NULL,
        why {bytes} NOT NULL,
        cursor {bytes},
        read_at {integer} NOT NULL DEFAULT 0,
        tried_at {integer} NOT NULL DEFAULT 0,
        failure {bytes}
    ){by_key}""",
    # Their labels and negations of our records, and of accounts: the bytes that are signed, the signature, and the key
    # with which that was verified. `expires_at` is none once that was noticed. `contents` are the content identities of
    # the version that it is about, where that was held while the label was here.
    """CREATE TABLE trust_labels (
        id {number},
        labeler {text} NOT NULL REFERENCES trust_labelers (did),
        uri {bytes} NOT NULL,
        digest {bytes} NOT NULL,
        signed {bytes} NOT NULL,
        sig {bytes} NOT NULL,
        key {text} NOT NULL,
        verified_at {integer} NOT NULL,
        expires_at {integer},
        contents {bytes},
        UNIQUE (labeler, digest)
    )""",
    "CREATE INDEX trust_labels_uri ON trust_labels (uri)",
    "CREATE INDEX trust_labels_expiry ON trust_labels (expires_at) WHERE expires_at IS NOT NULL",
    # Addresses of which a label came, ended or went, for whoever follows that.
    "CREATE TABLE trust_relabelled (id {number}, uri {bytes} NOT NULL)",
)

TABLES = SqlTables("trust", [_FIRST, _SECOND])
