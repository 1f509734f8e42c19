"""Training windows: every one once per epoch, the same order from the same seed, resumable, shared out, weighted."""

import json
import pickle

import numpy as np
import pytest
from rollouts import make_rollout

from worldsim.errors import StoreError
from worldsim.store import RolloutStore, Windows, eventful, rare, recent

LENGTH = 4


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = RolloutStore.create(tmp_path_factory.mktemp("windows") / "rollouts", codec="lz4")
    store.append([make_rollout(seed) for seed in range(4)])
    store.append([make_rollout(9, num_steps=3), *(make_rollout(seed) for seed in range(4, 7))])
    return store


def draw(windows, count):
    return [tuple(index) for _ in range(count) for index in windows.next().index.tolist()]


def all_windows(store):
    return {(i, t) for i in range(len(store)) for t in range(store.info(i).length - LENGTH + 1)}


def test_an_epoch_shows_every_window_once_in_an_order_of_its_own(store):
    windows = Windows(store, LENGTH, batch_size=1)
    size = len(all_windows(store))
    assert windows.num_windows == size
    first, second = draw(windows, size), draw(windows, size)
    assert windows.epoch == 2
    assert set(first) == set(second) == all_windows(store) and len(first) == len(set(first))
    assert first != second != sorted(second)
    assert draw(Windows(store, LENGTH, batch_size=1), size) == first
    assert draw(Windows(store, LENGTH, batch_size=1, seed=1), size) != first


def test_a_batch_holds_the_windows_that_its_index_names(store):
    batch = Windows(store, LENGTH, batch_size=7).next()
    for i, (episode, t) in enumerate(batch.index.tolist()):
        obs, action, reward = store.window(episode=episode, t=t, length=LENGTH)
        np.testing.assert_array_equal(batch.obs[i], obs)
        np.testing.assert_array_equal(batch.action[i], action)
        np.testing.assert_array_equal(batch.reward[i], reward)


def test_given_arrays_are_filled_in_place(store):
    windows = Windows(store, LENGTH, batch_size=3)
    out = windows.empty_batch()
    assert windows.next(out) is out and out.obs.any()
    before = out.obs.copy()
    windows.next(out)
    assert (out.obs != before).any()
    with pytest.raises(StoreError, match="out must hold windows of 4 steps"):
        windows.next(Windows(store, LENGTH + 1, batch_size=3).empty_batch())
    assert windows.state()["drawn"] == 6


@pytest.mark.parametrize("weighted", [False, True])
def test_a_stream_goes_on_from_its_state_as_if_never_stopped(store, weighted):
    weights = recent(store, 3) if weighted else None
    windows = Windows(store, LENGTH, batch_size=5, weights=weights)
    draw(windows, 11)  # in mid-epoch
    state = json.loads(json.dumps(windows.state()))
    resumed = Windows(pickle.loads(pickle.dumps(store)), LENGTH, batch_size=5, weights=weights)
    resumed.restore(state)
    assert draw(resumed, 20) == draw(windows, 20)
    with pytest.raises(StoreError, match="of other windows"):
        Windows(store, LENGTH, seed=3, weights=weights).restore(state)


def test_ranks_share_an_epoch_without_overlap(store):
    size = len(all_windows(store))
    alone = draw(Windows(store, LENGTH, batch_size=1), 6 * (size // 6))
    ranks = [draw(Windows(store, LENGTH, batch_size=2, rank=rank, num_ranks=3), size // 6) for rank in range(3)]
    assert [window for together in zip(*ranks, strict=True) for window in together] == alone


def test_more_ranks_go_on_where_fewer_stopped(store):
    one = Windows(store, LENGTH, batch_size=4)
    draw(one, 3)
    two = [Windows(store, LENGTH, batch_size=2, rank=rank, num_ranks=2) for rank in range(2)]
    for windows in two:
        windows.restore(one.state())
    ranks = [draw(windows, 4) for windows in two]
    assert [window for together in zip(*ranks, strict=True) for window in together] == draw(one, 4)


def test_weights_decide_how_often_an_episode_is_drawn(store):
    weights = np.zeros(len(store))
    weights[2], weights[6] = 3, 1
    drawn = np.array(draw(Windows(store, LENGTH, batch_size=50, weights=weights), 40))[:, 0]
    counts = np.bincount(drawn, minlength=len(store))
    windows_of = np.maximum(store.lengths - LENGTH + 1, 0)
    assert counts[[2, 6]].sum() == 2000
    expected = 3 * windows_of[2] / (3 * windows_of[2] + windows_of[6])
    assert counts[2] / 2000 == pytest.approx(expected, abs=0.04)
    assert (np.diff(recent(store, 2)) > 0).all() and recent(store, 2)[-3] == 0.5


def test_rare_weather_is_drawn_as_often_as_common_weather(tmp_path):
    store = RolloutStore.create(tmp_path / "s")
    store.append([make_rollout(seed, num_steps=20) for seed in (0, 2, 4, 6, 8, 1)])  # one of six in rain
    drawn = np.array(draw(Windows(store, 2, batch_size=100, weights=rare(store, "weather")), 20))[:, 0]
    assert (drawn == 5).mean() == pytest.approx(0.5, abs=0.04)
    with pytest.raises(StoreError, match="no factor 'season'"):
        rare(store, "season")


def test_windows_with_an_event_get_their_share(store):
    def is_last(episode):
        return np.arange(store.info(episode).length) == store.info(episode).length - 1

    weights = eventful(store, LENGTH, is_last, share=0.8)
    drawn = draw(Windows(store, LENGTH, batch_size=100, weights=weights), 20)
    ends = np.mean([t == store.info(episode).length - LENGTH for episode, t in drawn])
    assert ends == pytest.approx(0.8, abs=0.04)
    with pytest.raises(StoreError, match="with and without"):
        eventful(store, LENGTH, lambda i: store.rewards(i) > 1e9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 100}, "at least 100 steps; the longest"),
        ({"rank": 2, "num_ranks": 2}, "rank < num_ranks"),
        ({"weights": np.ones(3)}, r"weights must be \(8,\) per episode"),
        ({"weights": np.zeros(8)}, "not all zero"),
    ],
)
def test_what_cannot_be_drawn_is_one_clear_line(store, arguments, message):
    with pytest.raises(StoreError, match=message) as error:
        Windows(store, **{"length": LENGTH, **arguments})
    assert "\n" not in str(error.value)
