"""`python -m nbdiffuse.embedded.train MEMBER`: train one member of the embedded family, or all in their order."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from .members import MEMBERS
from .training import Training


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m nbdiffuse.embedded.train", description=__doc__)
    parser.add_argument("member", choices=[*MEMBERS, "all"])
    parser.add_argument(
        "--state", type=Path, default=Path.home() / ".cache" / "nbdiffuse-training", help="folder of resumable states"
    )
    parser.add_argument("--steps", type=int, help="optimiser steps instead of the member's own")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    arguments.state.mkdir(parents=True, exist_ok=True)
    for name in MEMBERS if arguments.member == "all" else [arguments.member]:
        MEMBERS[name].train(Training(arguments.state, arguments.steps or MEMBERS[name].steps, arguments.seed))


if __name__ == "__main__":
    main()
