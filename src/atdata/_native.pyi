from typing_extensions import Buffer

def scan(
    file: int, position: int, size: int, starts: Buffer, sizes: Buffer, marks: Buffer, /
) -> tuple[int, int, int]: ...
def begin(
    source: int | Buffer, starts: Buffer, sizes: Buffer, steps: tuple[tuple[object, ...], ...], rows: int | Buffer, /
) -> object: ...

MASKED: int
MAX_STEPS: int

def result(job: object, /) -> list[list[object]] | None: ...
