"""S3: the gateway of Ceph where it is installed, a real server; else `moto`, which answers everybody."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import sys
import uuid
from importlib.util import find_spec
from pathlib import Path

from atdata.files.own import remove_folder
from atdata.testing.services.server import HOST, Server, free_port, is_free, write_private

REGION = "us-east-1"
_CEPH_PROGRAMS = ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")


class S3Server(Server):
    """The common base of both: an endpoint, an access key and a secret key."""

    SERVICE = "s3"

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://{HOST}:{self.port}"

    @property
    def address(self) -> str:
        """The endpoint."""
        return self.url

    @property
    def environment(self) -> dict[str, str]:
        """The environment that every client of AWS reads."""
        return {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": self._state.user,
            "AWS_SECRET_ACCESS_KEY": self._state.secret,
            "AWS_DEFAULT_REGION": REGION,
        }

    def _answers(self) -> bool:
        with socket.create_connection((HOST, self.port), timeout=5) as connection:
            connection.sendall(f"GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
            return connection.recv(16).startswith(b"HTTP/1.")


class MotoServer(S3Server):
    """`moto`: takes every credential, and keeps everything in memory."""

    PROGRAM = "moto"
    INSTALL = "pip install 'moto[s3]' flask flask-cors"
    NOTES = "checks no credentials: whoever reaches it may read and write all; and keeps nothing when it ends"

    @classmethod
    def installed(cls) -> bool:
        """True if this Python has it."""
        return all(find_spec(name) for name in ("moto", "flask", "flask_cors"))

    def _launch(self) -> None:
        self._state.user, self._state.secret = "atdata", self._state.secret or secrets.token_hex(20)
        self._spawn([sys.executable, "-m", "moto.server", "-H", HOST, "-p", self.port])


class CephServer(S3Server):
    """One node of Ceph: a monitor, a store in a sparse file, and the S3 gateway; only those with a key get in."""

    PROGRAM = "Ceph"
    INSTALL = "apt install --no-install-recommends radosgw ceph-mon ceph-osd"

    @classmethod
    def installed(cls) -> bool:
        """True if all of its programs are on PATH."""
        return all(shutil.which(name) for name in _CEPH_PROGRAMS)

    def _launch(self) -> None:
        first = not self._state.secret  # the last thing that is made
        if first:
            remove_folder(self.folder, "mon", "osd", "rgw")
            write_private(self.folder / "fsid", str(uuid.uuid4()))
        self._configure()
        if first:
            self._create_monitor()
        else:
            self._ceph("ceph-mon", "-i", "a", "--inject-monmap", self.folder / "monmap")
        self._ceph_daemon("ceph-mon", "-i", "a")
        if first:
            self._create_store()
        self._ceph_daemon("ceph-osd", "-i", "0", "--keyring", self.folder / "osd" / "keyring")
        if first:
            self._create_user()
        self._ceph_daemon("radosgw", "-n", "client.admin")

    def _configure(self) -> None:
        """The settings, and where the monitor is: both ports may be others than last time."""
        monitor, fsid = self._monitor_port(), (self.folder / "fsid").read_text("ascii")
        write_private(self.folder / "ceph.conf", _configuration(self.folder, fsid, self.port, monitor))
        place = f"[v2:{HOST}:{monitor}]"
        self._ceph("monmaptool", "--create", "--clobber", "--addv", "a", place, "--fsid", fsid, self.folder / "monmap")

    def _monitor_port(self) -> int:
        kept = self.folder / "monitor-port"
        known = int(kept.read_text("ascii")) if kept.exists() else 0
        port = known if is_free(known) and known != self.port else free_port()
        write_private(kept, str(port))
        return port

    def _create_monitor(self) -> None:
        keyring = self.folder / "keyring"
        self._ceph("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        caps = [part for kind in ("mon", "osd", "mgr") for part in ("--cap", kind, "allow *")]
        self._ceph("ceph-authtool", keyring, "--gen-key", "-n", "client.admin", *caps)
        self._ceph("ceph-mon", "--mkfs", "-i", "a", "--monmap", self.folder / "monmap", "--keyring", keyring)

    def _create_store(self) -> None:
        folder, known = self.folder / "osd", str(uuid.uuid4())
        folder.mkdir(mode=0o700)
        keyring = folder / "keyring"
        self._ceph("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "osd.0")
        key = self._ceph("ceph-authtool", keyring, "-n", "osd.0", "--print-key").strip()
        self._ceph("ceph", "osd", "new", known, "0", "-i", "-", said=json.dumps({"cephx_secret": key}))
        self._ceph("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", known, "--keyring", keyring)

    def _create_user(self) -> None:
        """Its keys are Ceph's choice: keys of ours would have to be given as arguments, which every process sees."""
        made = json.loads(self._ceph("radosgw-admin", "user", "create", "--uid=atdata", "--display-name=atdata"))
        self._state.user, self._state.secret = made["keys"][0]["access_key"], made["keys"][0]["secret_key"]
        self._save()

    def _ceph(self, *command: object, said: str = "") -> str:
        return self._run(command, environment=self._where, said=said)

    def _ceph_daemon(self, *command: object) -> None:
        self._spawn([*command, "-f"], environment=self._where)

    @property
    def _where(self) -> dict[str, str]:
        return {"CEPH_CONF": str(self.folder / "ceph.conf")}


def _configuration(folder: Path, fsid: str, port: int, monitor: int) -> str:
    settings = {
        "fsid": fsid,
        "mon_host": f"v2:{HOST}:{monitor}/0",
        "public_network": "127.0.0.0/8",
        "public_addr": HOST,
        "cluster_addr": HOST,
        "ms_bind_ipv6": "false",
        "auth_cluster_required": "cephx",
        "auth_service_required": "cephx",
        "auth_client_required": "cephx",
        "auth_allow_insecure_global_id_reclaim": "false",
        "keyring": folder / "keyring",
        "run_dir": folder,
        "log_to_file": "false",
        "err_to_stderr": "true",
        "pid_file": "",
        "admin_socket": "",  # the path of a socket may have 107 characters, that of a folder more
        "crash_dir": folder / "crash",
        "mon_data": folder / "mon",
        "osd_data": folder / "osd",
        "rgw_data": folder / "rgw",
        # One node, which holds each object once and does not wait for others.
        "osd_pool_default_size": 1,
        "osd_pool_default_min_size": 1,
        "osd_pool_default_pg_num": 4,
        "osd_pool_default_pgp_num": 4,
        "osd_pool_default_pg_autoscale_mode": "off",
        "osd_crush_chooseleaf_type": 0,
        "mon_allow_pool_size_one": "true",
        "mon_warn_on_pool_no_redundancy": "false",
        "mon_max_pg_per_osd": 4000,
        "osd_objectstore": "bluestore",
        "bluestore_block_size": 100 << 30,  # of a sparse file: it takes what is in it
        "osd_memory_target": 939_524_096,  # the least it takes
        "paxos_propose_interval": 0.05,
        "paxos_min_wait": 0.01,
        "mon_tick_interval": 1,
        "osd_heartbeat_interval": 1,
        "osd_mon_report_interval": 1,
        "rgw_enable_usage_log": "false",
        "rgw_thread_pool_size": 32,
        "rgw_frontends": f"beast endpoint={HOST}:{port}",
        "rgw_dns_name": HOST,
    }
    return "[global]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items())
