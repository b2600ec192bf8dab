"""What tests are made with, and no test: `from support.networks import Devnet`. Fixtures are in the `conftest.py` files.

Servers
    fuzzing      questions made from the description of an AppView
    memory       the memory of this process
    networks     the Devnet, and real PDSes on a real PLC directory, behind proxies that can lie
    labelers     the Devnet with a labeler, or the reference labeler, where `python3 dev.py labeler` runs it
    services     Redis and PostgreSQL, with a fresh database for each test
    s3_servers   S3, with buckets for each test, and a proxy that fails as told
    appviews     AppViews that answer over real sockets, and repositories whose records they show
    sites        an AppView with something to look at, and a browser to look with
    listening    whoever listens to a firehose over a real socket
    pds_suite    what atdata relies on in a PDS: a suite that the Devnet passes, and the real one
    git_server   repositories, served by git itself
    rawhttp      a web server that does what it is told, byte by byte
    upstreams    a stream of events, which sends what a test decides

Processes
    terminal     the command line in this process, and what it says
    commands     the command line in a process of its own, which a test may kill
    trials       a command over a network that fails, killed at a request that is chosen
    repositories    accounts whose repositories are made here, for tests of what follows them
    rivals       processes that publish at the same moment
    trainings    training runs of two ranks, as users write them; run as a script
    hostile      what a sandbox runs: code that is sent, and a kernel that refuses
    mapped       functions that are mapped over shards, by processes that import them
    ingesting    an ingester in a thread, accounts that write, and what is waited for
    ingest_process  an ingester in a process of its own, which a test may kill; run as a script
    mutants      faults planted in ingest, each of which the suite must find; run as a script
    freshness    writes on real PDSes, until a service finds and proves them; run as a script
    screenshots  pictures of pages for the documentation; run as a script
    sweeping     histories, many and long, against what ingest makes of them; run as a script

Material
    histories    seeded histories of accounts, and the faults of a server that tells of them
    blocks       values of the data model, their blocks, and trees
    kinds        all kinds of fields, one row each, and values of them
    lawless      lenses that break a law, and lenses that keep them
    browsers     a real browser, and pages in it that complain of nothing
    arrays       strategies over dtypes, shapes and layouts, and specimens picked by hand
    plantings    secrets, made up, that must never be public, and texts that may be
    oracles      where foreign test vectors and the public lexicons lie
    blocks       strategies over values of the data model and trees, the suite of DASL, blocks of too many values
    absent       whether there is a browser
    optional     frameworks that only some machines have, looked for without importing them
    seed_code    the code of the founding documents, taken from their text
"""

import os

MANY = os.environ.get("ATDATA_TEST_MANY") == "1"
"""Whether the long sweeps run in full (`dev.py test --many`), and not in part."""
