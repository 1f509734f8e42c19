"""The commands that look after a store say what they did, in text and in JSON, and exit as documented."""

import json

import pytest
from rollouts import make_rollout

from worldsim.cli import run
from worldsim.store import RolloutStore, verify
from worldsim.store.format import SEGMENTS


@pytest.fixture
def store(tmp_path):
    store = RolloutStore.create(tmp_path / "rollouts")
    for seed in range(3):
        store.append([make_rollout(seed)])
    return store


def facts_of(capsys, *arguments):
    code = run([*map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_compact_then_gc_leaves_one_segment(store, capsys):
    assert facts_of(capsys, "compact", store.path) == (0, {"store": str(store.path), "replaced": 3, "version": 4})
    code, facts = facts_of(capsys, "gc", store.path, "--grace-hours", 0, "--dry-run")
    assert code == 0 and len(facts["removed"]) == 3
    assert facts_of(capsys, "gc", store.path, "--grace-hours", 0)[1]["removed"] == facts["removed"]
    assert len(list((store.path / SEGMENTS).iterdir())) == 1 and len(RolloutStore.open(store.path)) == 3


def test_repair_exits_with_1_if_episodes_are_lost(store, capsys):
    assert facts_of(capsys, "repair", store.path)[0] == 0
    (store.path / SEGMENTS / store.commits[1].segment / "reward/c.0").unlink()
    code, facts = facts_of(capsys, "repair", store.path)
    assert code == 1 and facts["lost"] == 1 and verify(store.path) == []
    assert len(RolloutStore.open(store.path)) == 2


def test_merge_makes_the_store_and_counts_what_is_new(store, tmp_path, capsys):
    for added in (3, 0):
        code, facts = facts_of(capsys, "merge", store.path, "-o", tmp_path / "all")
        assert code == 0 and facts["added"] == {str(store.path): added} and facts["episodes"] == 3


def test_a_path_without_a_store_is_the_users_error(tmp_path, capsys):
    for command in ("repair", "gc", "compact"):
        assert run([command, str(tmp_path)]) == 2
        assert "is not a rollout store" in capsys.readouterr().err


def test_export_says_what_is_lost_and_import_brings_it_back_once(store, tmp_path, capsys):
    code, facts = facts_of(capsys, "export", store.path, "--to", "npz", "-o", tmp_path / "out")
    assert code == 0 and (facts["episodes"], facts["lost"]) == (3, [])
    for added in (3, 0):
        code, facts = facts_of(capsys, "import", tmp_path / "out", "-o", tmp_path / "back")
        assert code == 0 and facts == {"store": str(tmp_path / "back"), "added": added, "episodes": 3}
    assert run(["export", str(store.path), "--to", "gif", "-o", str(tmp_path / "x")]) == 2
    assert "must be one of" in capsys.readouterr().err


def test_inspect_writes_a_page_and_says_that_the_store_is_whole(store, tmp_path, capsys):
    code, facts = facts_of(capsys, "inspect", store.path, "-o", tmp_path / "report.html")
    assert code == int(any(check["ok"] is False for check in facts["checks"])) and facts["faults"] == []
    assert "Rollouts in rollouts" in (tmp_path / "report.html").read_text()
    run(["inspect", str(store.path)])
    text = capsys.readouterr().out
    assert "integrity    whole" in text and "3 of 3 episodes" in text and "first caption" in text


def test_inspect_names_damage_instead_of_showing_it(store, capsys):
    (shard,) = (store.path / SEGMENTS / store.commits[1].segment / "obs").glob("c*")
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    code, facts = facts_of(capsys, "inspect", store.path)
    assert code == 1 and "obs" in facts["faults"][0]
