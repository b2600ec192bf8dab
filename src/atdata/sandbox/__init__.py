"""Code that nobody knows, in a process of its own that can only compute and answer, or not at all."""

from atdata.sandbox.lockdown import check_platform
from atdata.sandbox.process import Sandbox, SandboxLimits

__all__ = ["Sandbox", "SandboxLimits", "check_platform"]
