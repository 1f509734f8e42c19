"""The rooms of the design: who may import whom, and what `import worldsim` may load."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = [
    "errors",
    "rollout",
    "metrics",
    "page",
    "store",
    "collect",
    "model",
    "train",
    "sim",
    "testing",
    "evaluate",
    "serve",
    "_console",
    "_doctor",
    "_options",
    "_bench_commands",
    "_render_commands",
    "_store_commands",
    "cli",
]
SHARED = {"errors", "rollout"}
DOORS = {"zarr": "store", "fastapi": "serve", "uvicorn": "serve"}


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", _files("worldsim"), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_imports_only_rooms_above_it(path):
    room = path.relative_to(ROOT / "worldsim").with_suffix("").parts[0]
    for name in _imports(path):
        assert name.split(".")[0] not in {"worldsim_envs", "pybullet"}, f"{path} imports {name}"
        door = DOORS.get(name.split(".")[0])
        assert door in (None, room), f"{path} imports {name}, whose door is {door}"
        parts = name.split(".")
        if parts[0] != "worldsim" or len(parts) < 2 or parts[1] not in ORDER or room not in ORDER:
            continue
        assert ORDER.index(parts[1]) <= ORDER.index(room), f"{path} ({room}) imports {name}, a room below it"


@pytest.mark.parametrize("path", _files("envs/worldsim_envs"), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_true_world_knows_only_the_shared_words(path):
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] == "worldsim":
            assert len(parts) > 1 and parts[1] in SHARED, f"{path} imports {name}"
        if parts[0] == "pybullet":
            assert path.name == "scene.py", f"{path} imports pybullet, whose door is scene.py"


def test_importing_worldsim_loads_nothing_heavy():
    heavy = ("torch", "zarr", "pybullet", "trimesh", "scipy")
    code = f"import sys, worldsim; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == "[]"


def test_public_names_resolve():
    import worldsim

    for name in worldsim.__all__:
        assert getattr(worldsim, name) is not None


def test_the_wheel_holds_two_packages_and_the_checkpoints(tmp_path):
    code = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert top == {"worldsim", "worldsim_envs"}
    assert "worldsim/py.typed" in names
    for checkpoint in (ROOT / "worldsim" / "checkpoints").iterdir():
        is_renderer = (checkpoint / "renderer.json").is_file()
        own = ("renderer.json",) if is_renderer else ("config.json", "starts.npz")
        for file in (*own, "model.safetensors", "metrics.json"):
            assert f"worldsim/checkpoints/{checkpoint.name}/{file}" in names
