"""`python -m nextbest`: the command line, for where its script is not on the path."""

from nextbest.cli import main

main()
