"""The AT Protocol kernel: identifiers, content addresses, keys, identities, lexicons and repositories.

Pure functions over bytes and values: no I/O and no clock (`syntax.TidClock` apart), so that a proof gives the same
verdict on bytes from a server, a bundle or a firehose. Only `atdata.atproto.net` talks to anyone.
"""
