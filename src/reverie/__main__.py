"""`python -m reverie`: the command line, where no script is installed."""

from reverie.cli import main

if __name__ == "__main__":
    main()
