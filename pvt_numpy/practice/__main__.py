"""`python -m pvt_numpy.practice start|check FILE`: write PVT's layers yourself, and see what is wrong.

`start` writes a file with twelve functions to fill in, and with their backward passes as a second half: signatures,
shapes and formulas are those of `layers/`, the bodies are empty. `check` runs each of them on small inputs and says:
not written yet, raises, wrong shape, or wrong numbers, and which of some eighty known mistakes gives exactly these
numbers. When the first twelve are right, they run the model that ships.

examples:
  python -m pvt_numpy.practice start my_pvt.py
  python -m pvt_numpy.practice check my_pvt.py                   all of them
  python -m pvt_numpy.practice check my_pvt.py softmax attention

exit status: 0 all that were checked are right; 1 one is not, or something failed, said on stderr; 2 wrong usage
"""

import json
import shlex
from pathlib import Path

from ..system.cli import command_parser, printable, result_is_a_file, run, say_working
from . import session
from .exercises import BACKWARD, EXERCISES, FORWARD


def main(argv=None):
    """The command. Returns its exit status."""
    parser = command_parser("practice", __doc__)
    actions = parser.add_subparsers(dest="action", required=True, metavar="start|check")
    start = actions.add_parser("start", help="write a file with the functions to fill in")
    check = actions.add_parser("check", help="say what is wrong with the functions in a file")
    for one in (start, check):
        one.add_argument("file", metavar="FILE", help="your file, such as my_pvt.py")
    check.add_argument("names", nargs="*", metavar="NAME", help="default: all of " + ", ".join(EXERCISES))
    check.add_argument("--json", action="store_true", help="one JSON object per function and line, for programs")
    options = parser.parse_args(argv)
    if options.action == "start":
        result_is_a_file()
        session.start(options.file)
        shown = printable(options.file)
        print(f"{shown}: {len(FORWARD)} functions to fill in, then their backward passes. Write the first, then:\n"
              f"  python -m pvt_numpy.practice check {shlex.quote(options.file)} {FORWARD[0].name}")  # fmt: skip
        return 0
    unknown = [name for name in options.names if name not in EXERCISES]
    if unknown:
        check.error(f"NAME: found {unknown[0]!r}; expected one of {', '.join(EXERCISES)}")
    return report(Path(options.file), options.names or list(EXERCISES), options.json)


def report(file, names, as_json):
    """Checks and prints, a line a function; returns the exit status."""
    functions, verdicts = session.read(file), []
    width = max(map(len, names))
    for name in names:
        verdicts.append(session.verdict(functions, name))
        if as_json:
            print(json.dumps(verdicts[-1]._asdict()), flush=True)
        else:
            print(f"{name:{width}}  {printable(verdicts[-1].text)}", flush=True)
    right = {verdict.name for verdict in verdicts if verdict.right}
    if not as_json:
        print(f"\n{len(right)} of {len(names)} right")
        twelve = {exercise.name for exercise in FORWARD}
        if twelve <= right:
            say_working("running the model that ships with your functions")
            label, share = session.run_the_model(functions)
            print(f"Your functions are a PVT v2. The model that ships, run by them alone: {label} {share:.1%}")
        elif set(names) == {exercise.name for exercise in FORWARD + BACKWARD}:
            print(f"next: {next(name for name in names if name not in right)}")
    return int(len(right) < len(names))


if __name__ == "__main__":
    run(main, "practice")
