"""Files of this machine: written whole or not at all, and removed only where they are our own."""

from atdata.files.atomic import atomic_file, disk_errors, sync_folder, write_all

__all__ = ["atomic_file", "disk_errors", "sync_folder", "write_all"]
