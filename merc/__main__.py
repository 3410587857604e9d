"""python -m merc <command>: what a user asks for outside the pipeline."""

import os
import sys
from importlib import import_module

from merc.problem import Problem

COMMANDS = {  # name -> module and function that get the words after it, what it is for; loaded when asked for
    "predict": ("merc.serve.command", "predict", "emotion and sentiment of clips, dialogues, films"),
    "serve": ("merc.serve.website", "serve", "a web page on this machine: upload, look, listen, ask why"),
    "results": (
        "merc.summary",
        "results",
        "the scores that lie here, on one screen, and against the last commit; NAME: run a study",
    ),
    "preset": ("merc.presets", "write", "NAME: params.yaml as in presets/; --flags: for `dvc exp run`"),
    "features": ("merc.feature_files", "command", "--to json|npz|parquet: the packs as files that others read"),
    "compare": ("merc.comparisons", "against", "another predictions.parquet against this one: paired tests"),
    "explain": (
        "merc.explain_command",
        "command",
        "<corpus> <dialogue> <utterance>, or CLIP: why the student says what it says",
    ),
}


def main(words: list[str]) -> int:
    """Run one command; a user's mistake is one line and exit code 2."""
    if words in (["-h"], ["--help"]):
        print(usage())
        return 0
    if not words or words[0] not in COMMANDS:
        print(usage(), file=sys.stderr)
        return 2
    module, function, _ = COMMANDS[words[0]]
    try:
        getattr(import_module(module), function)(*words[1:])
        sys.stdout.flush()
    except Problem as problem:
        print(f"merc: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("merc: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output (`| head`) has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends
        return 141  # as of a program that SIGPIPE ends
    return 0


def usage() -> str:
    lines = [f"  python -m merc {name:<10} {about}" for name, (*_, about) in COMMANDS.items()]
    return "\n".join(["usage:", *lines])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
