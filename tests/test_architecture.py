"""The house: imports point down, and importing the package is cheap."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

pytestmark = pytest.mark.quick

PACKAGE = Path(__file__).parents[1] / "nbdiffuse"
ROOMS = {
    "errors": "",
    "version": "",
    "library_logging": "",
    "files": "paths by_name atomic folders targets downloads hashes snapshots",
    "images": "arrays stripping layers conversion reader fitting outpainting colors picture mask_shapes latent_masks mask_edges "
    "mask_content masks "
    "mask_selection mask_arithmetic edges lines noise latents text contact_sheets sheets gallery picture_rows scatter alignment "
    "registration tints fidelity faithful metrics",
    "prompts": "weights a1111 compel extras dialects alternatives wildcards tokens unknown_words",
    "families": "aliases parameters number_lists diffusers_classes arguments step_rules family families pipeline_classes "
    "table hub_ids scheduler_names scheduler_table scheduler_classes noise_schedule flow_schedule first_step schedulers "
    "scheduler_settings model_calls contents embedding_file single_file description distilled published well_known recognition "
    "motion",
    "recipes": "link call_arguments parts reference corrections scheduler_config variation ip_adapter lora textual_inversion "
    "fields "
    "recipe_json values_by_name recipe chain format_1 weights_source controlnets segmenters family_traits preset presets listing "
    "other_family defaults scheduler_rules schedule_rules noise_start steps portable sizes prompt_embeddings notices summary "
    "prompt_loras reference_rules clip_rules taken_fields controlnet_rules ip_adapter_rules mask_rules comparison resolve",
    "sweeps": "axes counts cell plan sweep difference chain_sweep tables",
    "metadata": "models resources infotext a1111_masks a1111_samplers a1111 imported flat png_text exif xmp stealth texts "
    "fingerprints provenance image_files comfy_graph comfy_pass comfyui fooocus invokeai tools",
    "store": "entries store index lineage compare",
    "results": "",
    "devices": "memory offload optimizations failures worker coroutines steps",
    "checkpoints": "layouts completeness failures single_file priors lora_families hub adapter_files embedding_vectors "
    "ip_adapter_files locate lora_layers lora_products lora_fusion adapters low_rank loading own_vae latent_space",
    "pipelines": "loaded_model model_cache lookups new_words adapted_unet ip_adapters assembly previews packed_latents "
    "unfused_loras perturbed_attention free_u pipelines depth segmentation captions scorers",
    "engine": "model_calls embedding_cache conditioning tokenization progress notices faithful adapters call_values beginning "
    "engine clips "
    "batched_models unfinished batching",
    "scripts": "statements listing embedded_folders lora_sums adapters noise masks calls loading weighting writing checking "
    "loopbacks sweeps clips",
    "sessions": "waiting remote named_executors executor_errors picture_models session runners history",
    "runs": "notices consistency outcomes grid_display measuring grid_metrics records heatmaps frontier measured_grid grid "
    "chain_step latent_transfer "
    "chain_run loopback editing chain_grid sweep_api suggest consent replay verify program",
    "batches": "layout sources films tables prompting following rows windows manifest outcome plan page sheet "
    "captions row_metrics measured_batch batch film_writer flicker film clip sequence batch_api",
    "cells": "flags variables batches options chains loopbacks reference write from_file",
    "command_line": "report carry_out main",
    "magics": "interrupts notebook_defaults history_commands live_display live_batch mask_command tokens_command commands "
    "notebook_variables terminal completion magics extension",
    "__main__": "",
}
"""The house from the ground up: every room, and in it every module, stands on those named before it."""
ORDER = [f"{room}.{module}" if module else room for room, modules in ROOMS.items() for module in (modules.split() or [""])]
WITH_TORCH = ("library_logging", "devices", "checkpoints", "pipelines", "engine")
"""Where models are run: nowhere else is torch imported with a module."""


def modules() -> list[Path]:
    files = [file for file in PACKAGE.rglob("*.py") if file.relative_to(PACKAGE).parts[0] not in ("embedded", "panels")]
    return sorted(file for file in files if file.name != "__init__.py")


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts)


def imports(file: Path, known: Collection[str] = ORDER) -> list[tuple[str, bool]]:
    """Return (module, at run time) for each import inside the package, as the module's place in it."""
    tree = ast.parse(file.read_text())
    hidden = {
        id(n)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for n in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            here = file.relative_to(PACKAGE).parts[: -node.level]
            there = ".".join((*here, *(node.module or "").split("."))).strip(".")
            names = [f"{there}.{alias.name}".strip(".") for alias in node.names]
            found += [(name if name in known else there or name, id(node) not in hidden) for name in names]
    return found


def circle(start: str, imported: dict[str, set[str]]) -> list[str]:
    """Return the modules on a way of imports from one back to itself, or nothing."""
    ways, seen = [[start]], set[str]()
    for way in ways:
        for name in sorted(imported[way[-1]]):
            if name == start:
                return way
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return []


def top_level_libraries(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    names = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("file", modules(), ids=name_of)
def test_every_module_stands_on_those_named_before_it(file: Path) -> None:
    assert name_of(file) in ORDER, f"give {name_of(file)} a place in its room"
    below = ORDER[: ORDER.index(name_of(file))]
    for name, at_run_time in imports(file):
        if at_run_time and not name.startswith("embedded"):
            assert name in below, f"{name_of(file)} imports {name}, which does not stand below it"


def test_no_two_modules_import_each_other_not_even_for_their_types() -> None:
    files = {name_of(file): file for file in PACKAGE.rglob("*.py") if file.name != "__init__.py"}
    imported = {name: {there for there, _ in imports(file, known=set(files)) if there in files} for name, file in files.items()}
    circles = {name: found for name in files if (found := circle(name, imported))}
    assert not circles


def test_every_room_says_what_it_is_for_and_nothing_else() -> None:
    for room in [room for room, inside in ROOMS.items() if inside]:
        tree = ast.parse((PACKAGE / room / "__init__.py").read_text())
        assert ast.get_docstring(tree), room
        assert len(tree.body) == 1, f"{room} does something when it is entered"


def test_what_the_embedded_checkpoints_need_to_be_found_stands_on_the_ground() -> None:
    for file in [PACKAGE / "embedded" / f"{name}.py" for name in ("__init__", "shared_weights", "weight_deltas")]:
        outside = {name for name, at_run_time in imports(file) if at_run_time and not name.startswith("embedded")}
        assert {name.split(".")[0] for name in outside} <= {"errors", "files"}, file.name


def test_panels_stand_on_everything_but_the_magics_and_nothing_stands_on_them() -> None:
    for file in sorted((PACKAGE / "panels").rglob("*.py")):
        assert not re.search(r"^ *from \.+magics\b", file.read_text(), re.MULTILINE), file.name
    for file in modules():
        assert not any(name.startswith("panels") for name, at_run_time in imports(file) if at_run_time), file.name


def test_a_text_becomes_a_path_in_one_place() -> None:
    # `Path.expanduser` raises RuntimeError for a user that nobody is; `files.paths` says it in a line.
    found = [name_of(file) for file in modules() if "expanduser" in file.read_text() and name_of(file) != "files.paths"]
    assert not found


@pytest.mark.parametrize("file", modules(), ids=name_of)
def test_only_the_floors_that_run_models_import_torch(file: Path) -> None:
    if name_of(file).split(".")[0] not in WITH_TORCH:
        assert not top_level_libraries(file) & {"torch", "diffusers", "transformers"}


def test_importing_and_loading_the_extension_loads_no_heavy_library() -> None:
    code = (
        "import sys; from IPython.core.interactiveshell import InteractiveShell;"
        "shell = InteractiveShell.instance(); before = set(sys.modules); import nbdiffuse;"
        "shell.run_line_magic('load_ext', 'nbdiffuse');"
        "heavy = {'torch', 'diffusers', 'transformers', 'ipywidgets', 'huggingface_hub', 'httpx', 'numpy', 'PIL'};"
        "print(sorted(heavy & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_public_names_are_there() -> None:
    import nbdiffuse

    for name in nbdiffuse.__all__:
        assert getattr(nbdiffuse, name) is not None
    deferred = {*nbdiffuse.__all__} - {"__version__", "embedded", "load_ipython_extension"}
    assert deferred == set(nbdiffuse._HOMES)


def test_no_room_hides_a_public_name() -> None:
    # Importing a room sets its name on the package, where the public name would be looked for.
    import nbdiffuse

    rooms = {path.stem for path in PACKAGE.iterdir() if not path.name.startswith("_")}
    assert not rooms & set(nbdiffuse._HOMES)


def test_nothing_at_run_time_imports_what_makes_the_weights() -> None:
    makers = ("embedded.train", "embedded.reports")
    files = {name_of(file): file for file in PACKAGE.rglob("*.py") if not name_of(file).startswith(makers)}
    known = {name_of(file) for file in PACKAGE.rglob("*.py")}
    assert not {name for name, file in files.items() if any(there.startswith(makers) for there, _ in imports(file, known))}
    for room in makers:
        docstring = ast.get_docstring(ast.parse((PACKAGE / room.replace(".", "/") / "__init__.py").read_text()))
        assert docstring and "run time" in docstring


def test_no_file_is_longer_than_a_reader_takes_in() -> None:
    lines = {name_of(file): len(file.read_text("utf-8").splitlines()) for file in PACKAGE.rglob("*.py")}
    assert not {name: count for name, count in lines.items() if count > 300}
