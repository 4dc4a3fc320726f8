"""`python -m seqmend`."""

from seqmend.cli import main

if __name__ == "__main__":
    main()
