"""`python -m spillway` is `spillway`."""

from spillway.cli import main

if __name__ == "__main__":
    main()
