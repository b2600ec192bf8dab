"""`python -m atdata`."""

from atdata.cli import main

if __name__ == "__main__":
    main()
