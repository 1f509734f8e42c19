"""A memory grows without being copied, and nothing that it shows is ever overwritten."""

import copy
import pickle

import torch

from worldsim.model.memory import Memory


def frame(value, streams=3):
    return torch.full((2, 2, streams, 5, 4, 8), float(value))


def memory(num=4, streams=3):
    return Memory(torch.stack([frame(i, streams) for i in range(num)]))


def shows(memory):
    """Return the number that each frame of the first stream was filled with."""
    return memory.cache[0, 0, 0, 0, 0, :, 0].tolist()


def grown(memory, value):
    room, following = memory.room()
    room[-1] = value
    return following


def test_a_step_goes_on_in_the_same_buffer_until_it_ends():
    first = now = memory()
    steps = []
    for value in range(4, 14):
        now = grown(now, value)
        assert shows(now) == [value - 3, value - 2, value - 1, value]
        steps.append(now)
    assert shows(first) == [0, 1, 2, 3]
    assert len({step.cache.untyped_storage().data_ptr() for step in steps}) == 2  # of nine places: five steps in each


def test_a_moment_that_is_stepped_twice_leads_to_two_futures():
    moment = grown(memory(), 4)
    one = grown(moment, 5)
    other = grown(moment, 50)
    assert (shows(moment), shows(one), shows(other)) == ([1, 2, 3, 4], [2, 3, 4, 5], [2, 3, 4, 50])
    assert (shows(grown(one, 6)), shows(grown(other, 60))) == ([3, 4, 5, 6], [3, 4, 50, 60])


def test_streams_are_taken_and_joined():
    one = memory(streams=2)
    room, _ = one.room()
    assert room.shape == (5, 2, 2, 2, 5, 4, 8)
    picked = Memory.cat([one.take(torch.tensor([1, 1])), grown(memory(streams=1), 9)])
    assert picked.cache.shape == (3, 2, 2, 5, 4, 4, 8)
    assert picked.cache[2, 0, 0, 0, 0, :, 0].tolist() == [1, 2, 3, 9]
    torch.testing.assert_close(Memory.of(picked.cache).cache, picked.cache)
    changed = picked.put(torch.tensor([0, 2]), memory(streams=2))
    assert [row[0, 0, 0, 0, :, 0].tolist() for row in changed.cache] == [[0, 1, 2, 3]] * 3
    assert picked.cache[2, 0, 0, 0, 0, :, 0].tolist() == [1, 2, 3, 9]


def test_a_copy_is_no_larger_than_what_it_shows():
    now = grown(memory(), 4)
    data = pickle.dumps(now)
    assert len(data) < now.cache.numel() * 4 + 2000
    assert now.compact().cache.untyped_storage().nbytes() == now.cache.numel() * 4
    for copied in (pickle.loads(data), copy.deepcopy(now), now.compact()):
        assert shows(grown(copied, 5)) == [2, 3, 4, 5]
    assert shows(grown(now, 50)) == [2, 3, 4, 50]
