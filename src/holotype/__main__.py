"""`python -m holotype`, which is the command `holotype`."""

from holotype.cli.app import main

if __name__ == "__main__":
    main()
