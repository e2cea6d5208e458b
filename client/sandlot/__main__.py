"""`python -m sandlot`: the same as the command `sandlot`."""

from sandlot.cli import main

if __name__ == "__main__":
    main(prog_name="sandlot")
