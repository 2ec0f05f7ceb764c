"""Library logging: progress bars and hints of diffusers and transformers are kept out of notebooks."""

from __future__ import annotations

import sys
import warnings

import transformers


def silence_libraries() -> None:
    """Keep the libraries' own bars and hints out of notebooks; errors still come through.

    diffusers is quieted where it is imported already: `checkpoints` must be the one to import it.
    """
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if "diffusers" in sys.modules:
        import diffusers

        diffusers.utils.logging.set_verbosity_error()
        diffusers.utils.logging.disable_progress_bar()
    # The pipelines of Kandinsky and SDXL use these themselves, so nobody who reads the warning could act on it.
    for name in ("callback_steps", "upcast_vae"):
        warnings.filterwarnings("ignore", f"`{name}` is deprecated", FutureWarning)
