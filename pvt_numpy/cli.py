"""What every command shares: a user's mistake is one line and an exit status, never a traceback.

Exit status 0: all done; 1: something failed, said on stderr; 2: wrong usage (argparse); 130: stopped with Ctrl-C.
"""

import os
import sys


def run(main, name):
    """Calls `main()`, which returns an exit status, and leaves the process with it.

    `name` is the command's, for its messages. ValueError and OSError are what the package raises for bad input.
    """
    try:
        status = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"{name}: stopped", file=sys.stderr)
        status = 130
    except BrokenPipeError:  # the reader, `head` for instance, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except (ValueError, OSError, MemoryError) as error:
        complain(name, error)
        status = 1
    sys.exit(status)


def complain(name, error):
    """One line on stderr for `error`, whatever line breaks or control characters its text holds."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        error = f"{error.filename}: {error.strerror}"
    text = " ".join(str(error).split()) or type(error).__name__
    print(f"{name}: error: {printable(text)}", file=sys.stderr)


def printable(text):
    """`text` with control characters escaped, so that a file's name cannot steer a terminal.

    >>> printable("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
