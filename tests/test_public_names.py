"""What `import hetagent` gives, what it loads, and which module may import which."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hetagent

SOURCE = Path(hetagent.__file__).parent
HEAVY = (
    "llama_cpp",
    "litellm",
    "outlines",
    "torch",
    "transformers",
    "rich",
    "huggingface_hub",
    "llguidance",
    "jinja2",
    "ray",
    "pyarrow",
    "pandas",
    "duckdb",
    "sqlalchemy",
    "cryptography",
    "keyring",
)
# Lower first; a layer imports itself and those before it.
LAYERS = ("errors", "schema", "json_types", "constraint", "models.base", "skill", "confidence")
LAYERS += ("policy", "registry.registry", "opened", "bound", "shadow", "switched", "orchestrator")


def test_all_is_sorted_and_each_name_is_there():
    assert hetagent.__all__ == sorted(hetagent.__all__)
    assert len(set(hetagent.__all__)) == len(hetagent.__all__)
    for name in hetagent.__all__:
        assert hasattr(hetagent, name), name


def test_all_is_complete():
    tree = ast.parse((SOURCE / "__init__.py").read_text())
    # What is loaded only when it is asked for is imported for type checkers.
    lazily = [node for part in tree.body if isinstance(part, ast.If) for node in part.body]
    imported = {
        alias.asname or alias.name
        for node in [*tree.body, *lazily]
        if isinstance(node, ast.ImportFrom) and node.module not in ("__future__", "typing")
        for alias in node.names
    }
    assert imported == set(hetagent.__all__)


def test_public_names_of_every_module_exist():
    checked = 0
    for path, tree in _trees():
        listed = [
            node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
        ]
        for value in listed:
            names = ast.literal_eval(value)
            assert len(set(names)) == len(names), path
            defined = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
            defined |= {n.name for n in tree.body if hasattr(n, "name")}
            defined |= {
                a.asname or a.name
                for n in tree.body
                if isinstance(n, ast.ImportFrom)
                for a in n.names
            }
            assert set(names) <= defined, path
            checked += 1
    assert checked > 15


def test_importing_hetagent_loads_nothing_heavy():
    code = (
        "import sys, hetagent\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])\n"
        "print(hetagent.__version__)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["[]", hetagent.__version__]


def test_a_recorder_loads_nothing_heavy_either():
    code = (
        "import sys, hetagent\n"
        "class Store:\n"
        "    def append(self, records): pass\n"
        "before = 'hetagent.learn.recorder' in sys.modules\n"
        "hetagent.Recorder(Store(), redact=lambda record: record).close()\n"
        f"print(before, [m for m in {HEAVY!r} if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.stdout.splitlines() == ["False []"], result.stderr


def test_declaring_a_skill_loads_no_model_library():
    code = (
        "import sys\n"
        "from hetagent import Orchestrator, Scripted, Answer, skill\n"
        "@skill\n"
        "def f(text: str) -> dict[str, int] | int: 'x'\n"
    ).replace("dict[str, int] | int", "list[int]")
    code += (
        "print(Orchestrator(slm=Scripted(Answer([1]))).run(f, 'x').value)\n"
        "print([m for m in ('llama_cpp', 'litellm', 'outlines', 'torch') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.stdout.splitlines() == ["[1]", "[]"], result.stderr


@pytest.mark.parametrize("layer", LAYERS)
def test_lower_layers_do_not_import_higher_ones(layer: str):
    higher = {f"hetagent.{name}" for name in LAYERS[LAYERS.index(layer) + 1 :]}
    reached = _reachable(f"hetagent.{layer}")
    assert not reached & higher, f"{layer} imports {sorted(reached & higher)}"


def test_the_rule_above_sees_imports():
    assert "hetagent.schema" in _reachable("hetagent.orchestrator")
    assert "hetagent.errors" in _reachable("hetagent.constraint")


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("llama_cpp", ("engine/",)),
        ("litellm", ("models/litellm.py", "models/background.py", "models/provider_errors.py")),
        ("torch", ("models/transformers.py", "models/torch_", "learn/tune/")),
        ("transformers", ("models/transformers.py", "models/torch_", "learn/tune/")),
        ("opentelemetry", ("telemetry.py",)),
        ("outlines", ("constraint.py",)),
        ("ray", ("integrations/ray.py",)),
        ("pyarrow", ("integrations/", "learn/store/parquet")),
        ("duckdb", ("learn/store/parquet.py",)),
        ("sqlalchemy", ("learn/store/",)),
        ("cryptography", ("learn/store/store.py", "learn/store/crypto.py")),
        ("keyring", ("learn/keys.py",)),
        ("starlette", ("gateway/",)),
        ("uvicorn", ("gateway/",)),
    ],
)
def test_only_one_place_imports_a_library(package: str, allowed: tuple[str, ...]):
    importers = {
        path.relative_to(SOURCE).as_posix()
        for path, tree in _trees()
        if any(name.split(".")[0] == package for name in _imports(tree))
    }
    strangers = {path for path in importers if not path.startswith(allowed)}
    assert not strangers


def test_nothing_but_the_command_line_imports_an_integration():
    importers = {
        path.relative_to(SOURCE).as_posix()
        for path, tree in _trees()
        if any(name.startswith("hetagent.integrations") for name in _imports(tree))
    }
    assert importers
    assert all(path.startswith(("integrations/", "cli/")) for path in importers)


def test_the_constraint_knows_no_inference_library():
    tree = ast.parse((SOURCE / "constraint.py").read_text())
    roots = {name.split(".")[0] for name in _imports(tree)}
    assert roots.isdisjoint({"llama_cpp", "torch", "transformers", "litellm"})
    assert "llguidance.llamacpp" not in _imports(tree)


def test_no_module_is_called_utils():
    assert not [path for path, _ in _trees() if path.stem in ("utils", "util", "helpers", "common")]


def _trees():
    for path in sorted(SOURCE.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def _imports(tree: ast.AST) -> set[str]:
    """Modules imported at run time, those inside functions included."""
    found: set[str] = set()
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        waiting += ast.iter_child_nodes(node)
    return found


def _reachable(module: str) -> set[str]:
    """Modules of hetagent that a module imports, directly or through others."""
    known = {
        ".".join(("hetagent", *path.relative_to(SOURCE).with_suffix("").parts)): path
        for path, _ in _trees()
    }
    reached: set[str] = set()
    waiting = [module]
    while waiting:
        path = known.get(waiting.pop())
        if path is None:
            continue
        new = _imports(ast.parse(path.read_text())) & set(known) - reached
        reached |= new
        waiting += new
    return reached
