"""The language of data lenses: see `atdata.lens.language.program`, and `steps` for what it can say."""

from atdata.lens.complement import Complement
from atdata.lens.language.lens import DataLens
from atdata.lens.language.program import LANGUAGE, VERSION, Program

__all__ = ["LANGUAGE", "VERSION", "Complement", "DataLens", "Program"]
