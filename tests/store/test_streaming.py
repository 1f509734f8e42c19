"""Step by step: what an env makes is on disk as it makes it, and the writer's memory stays flat."""

import tracemalloc

import numpy as np
import pytest
from rollouts import assert_same, make_rollout

from worldsim.errors import StoreError
from worldsim.store import RolloutStore, verify
from worldsim.store.format import SEGMENTS
from worldsim.store.segment import SegmentFiles
from worldsim.store.soak import soak


@pytest.fixture
def store(tmp_path):
    return RolloutStore.create(tmp_path / "rollouts")


def stream(writer, rollout, key=None):
    """Write a rollout as an env would make it."""
    captions = {caption.t: (caption.en, caption.zh) for caption in rollout.caption}
    states = [{body: rows[t] for body, rows in rollout.state.items()} for t in range(len(rollout.obs))]
    facts = ("env_id", "spec", "control_dt", "action_spec", "seed", "policy", "variation")
    episode = writer.begin(
        rollout.obs[0],
        key=key,
        state=states[0],
        caption=captions.get(0),
        events=[event.facts for event in rollout.events if event.t == 0],
        **{name: getattr(rollout, name) for name in facts},
    )
    for t in range(len(rollout)):
        episode.step(
            rollout.action[t],
            rollout.obs[t + 1],
            rollout.reward[t],
            rollout.terminated[t],
            rollout.truncated[t],
            state=states[t + 1],
            caption=captions.get(t + 1),
            events=[event.facts for event in rollout.events if event.t == t + 1],
        )
    return episode


def test_an_episode_written_step_by_step_equals_one_that_was_added_whole(store):
    with store.writer("run") as writer:
        for seed in range(4):
            stream(writer, make_rollout(seed), key=str(seed)).end()
        writer.add(make_rollout(4), "4")
    again = RolloutStore.open(store.path)
    for seed in range(4):
        assert_same(again.episode(seed), make_rollout(seed))
    assert_same(again.episode(4), make_rollout(4))
    assert again.keys("run") == set("01234") and verify(store.path) == []


def test_an_abandoned_episode_leaves_its_neighbours_as_they_were(store):
    with store.writer() as writer:
        writer.add(make_rollout(0))
        stream(writer, make_rollout(1)).abandon()
        stream(writer, make_rollout(2)).end()
    assert [store.info(i).seed for i in range(len(store))] == [0, 2]
    assert_same(store.episode(1), make_rollout(2))
    assert verify(store.path) == []


def test_bodies_that_appear_late_are_absent_before(store):
    frame = np.zeros((32, 32, 3), np.uint8)
    with store.writer() as writer:
        episode = writer.begin(frame, state={"ego": np.ones(13)})
        episode.step(np.zeros(2, np.float32), frame, 0.0, state={"ego": np.ones(13), "ball": np.full(13, 2)})
        episode.step(np.zeros(2, np.float32), frame, 1.0, truncated=True, state={"ball": np.full(13, 3)})
        episode.end()
    state = store.episode(0).state
    assert list(state) == ["ego", "ball"]
    np.testing.assert_array_equal(state["ego"][:, 0], [1, 1, np.nan])
    np.testing.assert_array_equal(state["ball"][:, 0], [np.nan, 2, 3])


def test_an_episode_out_of_order_is_a_clear_error(store):
    frame, action = np.zeros((32, 32, 3), np.uint8), np.zeros(2, np.float32)
    with store.writer() as writer:
        episode = writer.begin(frame)
        with pytest.raises(StoreError, match="at least one step"):
            episode.end()
        episode.step(action, frame, 0.0)
        with pytest.raises(StoreError, match="still open"):
            writer.begin(frame)
        with pytest.raises(StoreError, match="still open"):
            writer.commit()
        with pytest.raises(StoreError, match="holds 32x32 frames"):
            episode.step(np.zeros(3, np.float32), frame, 0.0)
        episode.end()
        with pytest.raises(StoreError, match="is over"):
            episode.step(action, frame, 0.0)
    assert len(store) == 1 and len(store.episode(0)) == 1


def test_an_episode_whose_step_failed_half_way_is_not_committed(store, monkeypatch):
    frame, action = np.zeros((32, 32, 3), np.uint8), np.zeros(2, np.float32)
    writer = store.writer()
    writer.add(make_rollout(0))
    episode = writer.begin(frame)
    episode.step(action, frame, 0.0)
    monkeypatch.setattr(SegmentFiles, "add_states", None)
    with pytest.raises(TypeError):
        episode.step(action, frame, 0.0)
    monkeypatch.undo()
    for call in (lambda: episode.step(action, frame, 0.0), episode.end, writer.commit):
        with pytest.raises(StoreError, match="failed half-way"):
            call()
    episode.abandon()
    with pytest.raises(StoreError, match="failed half-way"):
        writer.__exit__(None, None, None)
    assert list((store.path / SEGMENTS).iterdir()) == [] and len(RolloutStore.open(store.path)) == 0


def test_what_does_not_fit_is_refused_before_it_is_written_and_the_writer_goes_on(store):
    small, large, action = np.zeros((32, 32, 3), np.uint8), np.zeros((64, 64, 3), np.uint8), np.zeros(2, np.float32)
    with store.writer() as writer:
        episode = writer.begin(large)
        with pytest.raises(StoreError, match=r"one size; first \(64, 64, 3\), now \(32, 32, 3\)"):
            episode.step(action, small, 0.0)
        with pytest.raises(StoreError, match=r"state of 'ego' must be \(13,\)"):
            episode.step(action, large, 0.0, state={"ego": np.zeros(7)})
        episode.abandon()
        stream(writer, make_rollout(1)).end()
    assert_same(RolloutStore.open(store.path).episode(0), make_rollout(1))


def test_a_state_may_be_changed_in_place_behind_every_call(store):
    frame, row = np.zeros((32, 32, 3), np.uint8), np.zeros(13, np.float32)
    with store.writer() as writer:
        episode = writer.begin(frame, state={"ego": row})
        for _ in range(2):
            row += 1
            episode.step(np.zeros(2, np.float32), frame, 0.0, state={"ego": row})
        episode.end()
    np.testing.assert_array_equal(store.body(0, "ego")[:, 0], [0, 1, 2])


def test_nothing_waits_in_memory_but_a_chunk_per_field(store):
    frame, action = np.zeros((32, 32, 3), np.uint8), np.zeros((64, 2), np.float32)  # rows of 512 bytes
    state = {f"body{i}": np.zeros(13) for i in range(30)}  # of 1,560 bytes
    with store.writer() as writer:
        episode = writer.begin(frame)
        episode.step(action, frame, 0.0, state=state)
        tracemalloc.start()
        try:
            for _ in range(6000):
                episode.step(action, frame, 0.0, state=state)
            grown, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        episode.end()
    assert grown < 1_500_000, grown  # 6,000 steps hold 3 MB of actions, 9 MB of states and 18 MB of frames
    assert not [path for path in (store.path / SEGMENTS).rglob("*") if path.name.startswith("tmp")]
    assert len(store.episode(0)) == 6001


def test_a_short_soak_holds_no_more_at_its_end_than_at_its_beginning(tmp_path):
    result = soak(tmp_path / "soak", num_frames=3000, minutes=0.02, size=32)
    assert result["frames"] == 3000 and result["windows"] > 0 and len(result["writing_mb"]) >= 40
    assert result["is_flat"], result["growth_mb"]
