"""`python -m atdata`, and the command `atdata`."""

import gc
import os
import signal


def main() -> None:
    """Run the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while this is imported ends it without a traceback
    gc.disable()  # a tenth of the time of a start; `atdata.cli` enables it
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as much: numpy starts threads for sums that no command does
    from atdata.cli import main as run

    run()


if __name__ == "__main__":
    main()
