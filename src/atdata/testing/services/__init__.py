"""Real servers for tests and trials: Redis, PostgreSQL and S3 on this machine, on loopback, behind random passwords."""

from atdata.testing.services.home import Home, Status
from atdata.testing.services.postgres import PostgresServer
from atdata.testing.services.redis import RedisServer
from atdata.testing.services.s3 import CephServer, MotoServer, S3Server
from atdata.testing.services.server import Server

__all__ = ["CephServer", "Home", "MotoServer", "PostgresServer", "RedisServer", "S3Server", "Server", "Status"]
