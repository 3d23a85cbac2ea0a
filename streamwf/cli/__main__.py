"""`python -m streamwf.cli`, where the `streamwf` command is not on the path."""

from streamwf.cli import main

main(prog_name="streamwf")
