"""`python -m atdata`, and the command `atdata`."""

import signal


def main() -> None:
    """Run the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while this is imported ends it without a traceback
    from atdata.cli import main as run

    run()


if __name__ == "__main__":
    main()
