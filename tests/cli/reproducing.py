"""What the tests of `lowbit reproduce` share."""

from lowbit.cli import main


def write(path, table):
    """A table of one's own; its path."""
    path.write_text(table)
    return path


def reproduce(capsys, *words):
    """Run the command; exit code, standard output and standard error."""
    code = main(["reproduce", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err
