"""dvc.yaml against the code: what a stage imports and reads is what it declares, and nobody trains on test."""

import ast
import re
from pathlib import Path

import pytest
import yaml
from closure import ROOT, closure, instances, names, own_files, pipeline, possible_instances

STAGES = sorted(pipeline())
INSTANCES = [pytest.param(*one, id="-".join([one[0], *one[1].values()])) for one in instances()]
SEES_NO_TEST = {"lipsync", "adapt", "finetune", "pretrain", "train", "distill", "export"}
# Sections of no stage; `compute` cannot change a result, so that nobody tracks it.
SHARED_SECTIONS = {"data", "model"}
# What a file of the stage's import closure reads in a function that the stage never calls: forced alignment imports
# merc.media.alignment.ctc, and with it the package's `section`.
# It also refuses what no training could use, before it opens a clip: no output depends on those parameters.
NEVER_CALLED = {
    "extract": {"encode.*", "data.labels", "data.share", "data.corpora", "train.select", "model.modalities"}
}


# DVC leaves these keys out of its run cache, at any depth (dvc/stage/cache.py: exclude): with `extract` alone in
# `params`, another extract.faces.size brought back the outputs of the last one. Under its full name it counts.
LEFT_OUT = ("size", "nfiles")


def calls(path: Path, function: str) -> list[ast.Call]:
    tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [node for node in tree if isinstance(node, ast.Call) and ast.unparse(node.func) == function]


def keys_read(path: Path) -> set[str]:
    """The params.yaml keys that a file reads; what an f-string fills in becomes a `*`."""
    found = set()
    for call in calls(path, "params.read"):
        key = call.args[0]
        parts = key.values if isinstance(key, ast.JoinedStr) else [key]
        found.add("".join(part.value if isinstance(part, ast.Constant) else "*" for part in parts))
    return found


def below(path: str, deps: set[str]) -> bool:
    """Whether a file is one of the deps or lies in one."""
    return any(path == dep or path.startswith(dep + "/") for dep in deps)


def is_docstring_alone(path: Path) -> bool:
    return all(
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for node in ast.parse(path.read_text(encoding="utf-8")).body
    )


@pytest.mark.parametrize(("stage", "item", "declared"), INSTANCES)
def test_deps_cover_the_import_closure(stage, item, declared):
    """And no dep is without code that some instance of the stage imports: a needless dep is a needless rerun.

    The `__init__.py` of a package of which only sub-packages are deps is none: it holds a docstring alone.
    """
    code = {dep for dep in names(declared["deps"]) if dep.startswith(("merc/", "models", "stages/"))}
    parents = {f"{parent.as_posix()}/__init__.py" for dep in code for parent in Path(dep).parents}
    imported = closure(own_files(stage, item))
    assert {path for path in imported - parents if not below(path, code)} == set()
    for path in imported & parents:
        assert below(path, code) or is_docstring_alone(ROOT / path), f"{path} is run, and is no dep"
    possible = [one for name, one in possible_instances() if name == stage]
    every = set().union(*(closure(own_files(stage, one)) for one in possible))
    assert {dep for dep in code if not any(below(path, {dep}) for path in every)} == set()


@pytest.mark.parametrize(("stage", "item", "declared"), INSTANCES)
def test_every_parameter_that_is_read_is_declared_and_tracked_for_a_reason(stage, item, declared):
    read = set().union(*(keys_read(ROOT / path) for path in closure(own_files(stage, item))))
    read = {key for key in read if not key.startswith("compute.")} - NEVER_CALLED.get(stage, set())
    tracked = set(declared["params"])
    covered = {key for key in read for name in tracked if matches(key, name) or key.startswith(name + ".")}
    assert read == covered, "read and not declared"
    tracked -= {name for name in tracked if name.split(".")[-1] in LEFT_OUT}
    assert all(any(matches(key, name) or key.startswith(name + ".") for key in read) for name in tracked)


@pytest.mark.parametrize(("stage", "item", "declared"), INSTANCES)
def test_a_parameter_that_the_run_cache_overlooks_is_tracked_by_its_own_name(stage, item, declared):
    tracked = declared["params"]
    for key in overlooked(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))):
        if any(key.startswith(name + ".") for name in tracked):
            assert key in tracked, f"{stage}: add {key} beside the section that holds it"


def overlooked(node, place: str = "") -> list[str]:
    """Dotted names of the parameters that end in one of LEFT_OUT."""
    found = [place] if place.split(".")[-1] in LEFT_OUT else []
    below = node.items() if isinstance(node, dict) else ()
    return found + [name for key, value in below for name in overlooked(value, f"{place}.{key}".lstrip("."))]


def matches(key: str, name: str) -> bool:
    return re.fullmatch(re.escape(key).replace(r"\*", r"[\w-]+"), name) is not None


@pytest.mark.parametrize("stage", STAGES)
def test_one_name_in_six_places(stage):
    declared = pipeline()[stage]
    assert (ROOT / "stages" / f"{stage}.py").is_file()
    assert declared["cmd"].split()[:3] == ["python", "-m", f"stages.{stage}"]
    assert declared["desc"]
    assert any(name.split(".")[0] == stage for name in declared["params"])
    outs = names(declared["outs"])
    tops = ("data/raw/sample",) if stage == "sample" else (f"out/{stage}", f"plots/{stage}")
    assert all(out.startswith(tops) for out in outs)
    metrics = names(declared.get("metrics", []))
    exceptions = {"metrics/robustness.json", "metrics/typicality.json"} if stage == "evaluate" else set()
    assert all(
        path.startswith((f"metrics/{stage}.json", f"metrics/{stage}/")) for path in set(metrics) - exceptions
    )


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_small_is_in_git_and_what_is_large_is_not(stage):
    declared = pipeline()[stage]
    for entry in [*declared["outs"], *declared.get("metrics", [])]:
        small = names([entry])[0].startswith(("metrics/", "plots/"))
        assert isinstance(entry, dict) == small and (not small or list(entry.values()) == [{"cache": False}])


@pytest.mark.parametrize(("stage", "item", "declared"), INSTANCES)
def test_training_reads_neither_raw_data_nor_test(stage, item, declared):
    data = [dep for dep in names(declared["deps"]) if not dep.endswith(".py")]
    assert [dep for dep in data if dep.startswith("data/raw")] == (
        [f"data/raw/{item['corpus']}"] if stage == "extract" else []
    )
    if stage in SEES_NO_TEST:
        parents_of_test = {"out/extract", "out/encode", "data", "out", "out/evaluate", "out/explain"}
        assert not parents_of_test & set(data)
        assert not [dep for dep in data if "test" in Path(dep).parts]


def test_no_stage_keeps_its_output_between_runs_or_is_frozen():
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    assert "persist" not in text
    assert "frozen: true" not in text


def python_files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Top-level names that a file imports, and the dotted names of the project's own."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


def test_stages_never_import_stages():
    assert not [path for path in python_files("stages") if "stages" in tops(path)]


def test_merc_never_imports_stages_and_models_only_where_said():
    for path in python_files("merc"):
        place = path.relative_to(ROOT / "merc").as_posix()
        assert "stages" not in tops(path), place
        if place.startswith("serve/"):
            continue
        own = {name for name in imported(path) if name.split(".")[0] == "models"}
        lipsync_only = all(name == "models" or name.startswith("models.lipsync") for name in own)
        assert not own or (lipsync_only and place.startswith("encoders/")), place


def test_models_import_torch_pydantic_and_safetensors_alone():
    import sys

    allowed = {"models", "torch", "pydantic", "safetensors"} | set(sys.stdlib_module_names)
    for path in python_files("models"):
        assert tops(path) <= allowed, path


@pytest.mark.parametrize(
    ("libraries", "places"),
    [
        (
            {"av", "moviepy", "imageio"},
            ("media/", "corpora/synthesis/picture/mp4.py", "serve/stream/", "serve/commands/film.py"),
        ),
        ({"transformers"}, ("encoders/",)),
        ({"matplotlib"}, ("plots.py",)),
        ({"jinja2"}, ("templates.py",)),
    ],
)
def test_a_library_stays_in_its_place(libraries, places):
    for path in python_files("merc") + python_files("stages"):
        if tops(path) & libraries:
            assert path.relative_to(ROOT / "merc").as_posix().startswith(places), path


# the field's features, through an unpickler of its own
READS_PICKLES = ROOT / "merc/encoders/imported/formats/pickles.py"
PICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def picklers_reached(path: Path) -> set[str]:
    """What a file reaches of the modules that pickle: by import, or as an attribute or name of another module."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names if PICKLERS & set(one.name.split("."))}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{one.name}" for one in node.names}
            found |= {name for name in names if PICKLERS & set(name.split("."))}
        elif isinstance(node, ast.Attribute) and node.attr in PICKLERS:
            found.add(ast.unparse(node))
    return found


def test_no_pickle_is_written_or_loaded():
    for path in python_files("merc") + python_files("stages") + python_files("models"):
        allowed = {"pickle"} if path == READS_PICKLES else {"pickle.UnpicklingError"}  # an error reads nothing
        assert picklers_reached(path) <= allowed, path
        assert not calls(path, "pd.read_pickle") + calls(path, "pandas.read_pickle"), path
        loads = [call for call in calls(path, "torch.load") if "weights_only=True" not in ast.unparse(call)]
        assert not loads, path
        assert not calls(path, "torch.save"), path
        assert not [call for call in calls(path, "np.load") if "allow_pickle=True" in ast.unparse(call)], path


@pytest.mark.parametrize(
    "line",
    [
        "torch.serialization.pickle.load(file)",
        "from torch.serialization import pickle",
        "import pickle",
        "from pickle import loads",
        "import joblib.numpy_pickle",
    ],
)
def test_a_detour_to_pickle_is_seen(tmp_path, line):
    (tmp_path / "module.py").write_text(f"import torch\n\n{line}\n", encoding="utf-8")
    assert picklers_reached(tmp_path / "module.py") - {"pickle.UnpicklingError"}


def test_the_one_reader_of_pickles_decides_about_every_name_in_them():
    tree = ast.parse(READS_PICKLES.read_text(encoding="utf-8"))
    used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert {one for one in used if one.startswith("pickle.")} == {"pickle.Unpickler"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "pickle"]
    readers = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.bases]
    assert [ast.unparse(base) for reader in readers for base in reader.bases] == ["pickle.Unpickler"]
    own = {node.name for node in readers[0].body if isinstance(node, ast.FunctionDef)}
    assert {"find_class", "persistent_load"} <= own
    # of its parent it calls the constructor alone, and none of what decides about a name
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "super"]
    assert len(names) == sum(one.startswith("super().") for one in used)
    assert {one for one in used if one.startswith("super()")} == {"super().__init__"}
