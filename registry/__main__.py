"""`python -m registry` is the command `digestry`."""

from registry.cli.main import main

if __name__ == "__main__":
    main()
