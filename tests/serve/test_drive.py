"""Two worlds under the same actions, and the moments that can be gone back to."""

import weakref

import numpy as np
import pytest
from counting_world import SIZE
from tiny_models import make_spec, write_checkpoint

from worldsim.errors import ActionError, EnvError, PromptError
from worldsim.serve import record
from worldsim.serve.drive import MAX_BRANCHES, Drive, check_pair
from worldsim.serve.record import gif_bytes, mp4_bytes
from worldsim.serve.truth import TrueWorld, TruthProcess
from worldsim.serve.watch import Watch
from worldsim.sim import WorldModelEnv
from worldsim.sim.uncertainty import Gauge

STRAIGHT = np.array([0.0, 0.3], np.float32)
LEFT = np.array([0.6, 0.3], np.float32)
SEED = 200_000


@pytest.fixture(scope="module")
def city():
    truth = TruthProcess("worldsim/City-v0", {"height": SIZE, "width": SIZE})
    yield truth
    truth.close()


@pytest.fixture
def drive(city, checkpoint):
    drive = Drive(env=WorldModelEnv(checkpoint), truth=city)
    drive.reset(SEED)
    return drive


@pytest.fixture(scope="module")
def counting():
    truth = TruthProcess("counting_world:CountingWorld-v0", {"life": 16})
    yield truth
    truth.close()


@pytest.fixture(scope="module")
def counting_checkpoint(tmp_path_factory):
    blank = {"action_shape": (), "action_low": (), "action_high": (), "action_spec": (), "env_kwargs": {}}
    spec = make_spec(action_kind="discrete", action_counts=(3,), env_id="counting_world:CountingWorld-v0", **blank)
    return write_checkpoint(tmp_path_factory.mktemp("models") / "counting", spec)


def frames(moments):
    return [(moment.imagined.tobytes(), moment.true.frame.tobytes()) for moment in moments]


def test_both_worlds_begin_from_the_same_frame_and_then_differ(drive):
    assert drive.now.divergence == 0
    assert drive.step(STRAIGHT).divergence > 0


def test_the_action_moves_both_worlds(drive):
    kept = drive.branch()
    straight = [drive.step(STRAIGHT) for _ in range(6)][-1]
    drive.go_back_to(kept.number)
    left = [drive.step(LEFT) for _ in range(6)][-1]
    assert (straight.imagined != left.imagined).any() and (straight.true.frame != left.true.frame).any()


def test_rewind_restores_the_same_frames_and_the_same_future(drive):
    past = [drive.now] + [drive.step(STRAIGHT) for _ in range(8)]
    assert drive.rewind(5) is past[3]
    again = [drive.step(STRAIGHT) for _ in range(5)]
    assert [moment.t for moment in again] == [4, 5, 6, 7, 8]
    assert frames(again) == frames(past[4:])


def test_long_past_moments_thin_out_and_the_start_stays(drive, monkeypatch):
    monkeypatch.setattr("worldsim.serve.drive._KEPT_ALL", 2)
    monkeypatch.setattr("worldsim.serve.drive._EVERY", 4)
    monkeypatch.setattr("worldsim.serve.drive._KEPT_SOME", 6)
    for _ in range(11):
        drive.step(STRAIGHT)
    assert sorted(drive._kept) == [0, 8, 9, 10, 11]
    assert drive.rewind(4).t == 8
    assert drive.rewind(600).t == 0
    assert drive.rewind(1).t == 0


def test_only_what_can_be_gone_back_to_holds_the_truths_state(drive):
    for _ in range(3):
        drive.step(STRAIGHT)
    kept = drive.branch()
    drive.set_prompt("a rainy evening")
    drive.step(STRAIGHT)
    drive.rewind(2)
    drive.go_back_to(kept.number)
    drive.look_from("chase")
    drive.look_from("front")
    assert not any(moment.true.snapshot for moment in (*drive.moments, *kept.moments))
    assert all(kept.true for kept in drive._kept.values())


def test_a_prompt_that_the_truth_does_not_know_leaves_it_where_it_was(drive):
    drive.step(STRAIGHT)
    assert drive.set_prompt("traffic") == []  # the model alone knows this word
    past = [drive.step(STRAIGHT) for _ in range(3)]
    assert drive.rewind(3).t == 1 and drive.now.prompt == "traffic"
    assert frames(drive.step(STRAIGHT) for _ in range(3)) == frames(past)


def test_a_branch_is_come_back_to_bit_for_bit_from_another_drive(drive):
    drive.step(LEFT)
    kept = drive.branch()
    future = [drive.step(STRAIGHT) for _ in range(4)]
    drive.reset(SEED + 1)
    assert drive.go_back_to(kept.number).t == 1
    assert drive.seed == SEED
    assert frames(drive.step(STRAIGHT) for _ in range(4)) == frames(future)
    drive.drop(kept.number)
    with pytest.raises(EnvError, match="no branch"):
        drive.go_back_to(kept.number)


def test_branches_are_limited(drive):
    for _ in range(MAX_BRANCHES):
        drive.branch()
    with pytest.raises(EnvError, match="drop one"):
        drive.branch()


def test_a_prompt_in_mid_drive_changes_both_worlds_and_survives_a_rewind(drive):
    drive.step(STRAIGHT)
    kept = drive.branch()
    plain = [drive.step(STRAIGHT) for _ in range(12)]
    drive.go_back_to(kept.number)
    assert drive.set_prompt("a rainy evening") == []
    asked = [drive.step(STRAIGHT) for _ in range(12)]
    assert (asked[-1].imagined != plain[-1].imagined).any()
    assert (asked[-1].true.frame != plain[-1].true.frame).any()
    assert asked[-1].prompt == "a rainy evening"
    assert drive.rewind(12).t == 1
    assert frames(drive.step(STRAIGHT) for _ in range(12)) == frames(asked), "the prompt is part of the moment"


def test_words_that_neither_world_knows_are_named(drive):
    with pytest.warns(UserWarning, match="zebra"):
        assert drive.set_prompt("rain and zebra") == ["zebra"]
    with pytest.raises(PromptError):
        drive.set_prompt("qwerty")


def test_a_new_drive_takes_a_prompt_and_factors(drive):
    drive.reset(SEED, variation={"time_of_day": "night", "weather": "fog", "change": "none"})
    assert "雾" in drive.now.true.caption[1]
    night = drive.now.true.frame.mean()
    drive.reset(SEED, prompt="a clear day")
    assert drive.now.prompt == "a clear day" and drive.now.true.frame.mean() > night
    with pytest.raises(EnvError, match="unknown factor"):
        drive.reset(SEED, variation={"gravity": "low"})
    assert drive.step(STRAIGHT).t == 1, "a refused reset leaves the drive as it was"


def test_a_policy_of_the_truth_can_drive(drive):
    action = drive.act("lane_follower")
    assert drive.env.action_space.contains(action)
    with pytest.raises(EnvError, match="lane_follower"):
        drive.act("nobody")


def test_an_action_that_does_not_fit_is_refused_and_the_worlds_stay_in_step(drive):
    with pytest.raises(ActionError):
        drive.step(np.array([2.0, 0.0], np.float32))
    moment = drive.step(STRAIGHT)
    assert moment.t == moment.true_t == 1


def test_a_world_without_snapshots_is_restored_by_its_actions(counting, counting_checkpoint):
    drive = Drive(env=WorldModelEnv(counting_checkpoint), truth=counting)
    past = [drive.reset(3)] + [drive.step(np.asarray(choice)) for choice in (0, 1, 2, 2)]
    drive.rewind(3)
    assert frames(drive.step(np.asarray(choice)) for choice in (1, 2, 2)) == frames(past[2:])
    assert not counting.facts.takes_prompts and counting.facts.policies == ("mixture",)


def test_the_imagined_world_goes_on_after_the_truth_has_ended(counting, counting_checkpoint):
    drive = Drive(env=WorldModelEnv(counting_checkpoint, horizon=9), truth=counting)
    drive.reset(3)
    moments = [drive.step(np.asarray(1)) for _ in range(9)]  # 10 true steps came before the start
    assert [moment.true_t for moment in moments] == [1, 2, 3, 4, 5, 6, 6, 6, 6]
    assert moments[5].true.end == "terminated" and moments[5].divergence is not None
    assert moments[6].divergence is None and not moments[6].is_over
    assert moments[8].is_over
    with pytest.raises(EnvError, match="both episodes have ended"):
        drive.step(np.asarray(1))
    imagined, true = drive.rollouts()
    assert (len(imagined), len(true)) == (9, 6)
    assert true.terminated[-1] and imagined.truncated[-1] and not imagined.terminated.any()
    assert drive.rewind(1).true_t == 6
    drive.set_prompt("a clear day")
    future = [drive.step(np.asarray(1))]
    drive.rewind(1)
    assert frames([drive.step(np.asarray(1))]) == frames(future)
    drive.rewind(5)
    assert drive.step(np.asarray(1)).true_t == 5


def test_a_drive_is_kept_as_two_rollouts_that_say_what_they_are(drive):
    with pytest.raises(EnvError, match="drive first"):
        drive.rollouts()
    for _ in range(3):
        drive.step(LEFT)
    imagined, true = drive.rollouts()
    assert (imagined.source, imagined.model) == ("imagined", drive.env.model.name)
    assert (true.source, true.model) == ("truth", None)
    assert (imagined.action == true.action).all() and (imagined.action == LEFT).all()
    assert (imagined.obs[0] == true.obs[0]).all() and true.caption[0].t == 0


@pytest.mark.parametrize("pack", [gif_bytes, mp4_bytes])
def test_a_film_takes_the_pictures_of_a_drive_one_by_one(drive, monkeypatch, pack):
    for _ in range(8):
        drive.step(LEFT)
    pictures, most = [], 0

    def labelled(frames):
        nonlocal most
        picture = record_labelled(frames)
        pictures.append(weakref.ref(picture))
        most = max(most, sum(made() is not None for made in pictures))
        return picture

    record_labelled = record.labelled
    monkeypatch.setattr(record, "labelled", labelled)
    assert pack(*drive.rollouts())
    assert len(pictures) == 9 and most <= 3


def test_a_truth_that_is_made_with_another_camera_shows_and_names_that_first():
    small = {"height": SIZE, "width": SIZE}
    plain, chase = TrueWorld("worldsim/City-v0", small), TrueWorld("worldsim/City-v0", {**small, "cameras": ["chase"]})
    assert plain.facts().cameras[0] == "front"
    assert chase.facts().cameras[0] == "chase" and set(chase.facts().cameras) == set(plain.facts().cameras)
    front, start = plain.begin(SEED, 2, {}).moment.frame, chase.begin(SEED, 2, {})
    assert (start.moment.frame != front).any()
    np.testing.assert_array_equal(chase.look_from("front"), front)
    step = chase.step(STRAIGHT)
    np.testing.assert_array_equal(step.view, plain.step(STRAIGHT).frame)
    assert chase.look_from("chase") is None
    chase.restore(start.moment.snapshot)
    again = chase.step(STRAIGHT)
    assert again.view is None
    np.testing.assert_array_equal(again.frame, step.frame)
    for world in (plain, chase):
        world.close()


def test_uncertainty_is_read_beside_the_drive_and_forgotten_when_it_goes_elsewhere(city, model, doubtful):
    watch = Watch(Gauge(model, doubtful))
    drive = Drive(env=WorldModelEnv(model), truth=city, watch=watch)
    drive.reset(SEED)
    drive.step(STRAIGHT)
    watch.close()  # waits for the reading
    assert watch.at(1) == 1
    assert watch.at(0) is None and watch.at(50) is None, "it speaks of step 1 and a little later"
    drive.rewind(1)
    assert watch.at(1) is None


def test_worlds_that_do_not_fit_are_told_apart(city, counting):
    check_pair(make_spec(), city.facts)
    with pytest.raises(EnvError, match="actions"):
        check_pair(make_spec(), counting.facts)
    with pytest.raises(EnvError, match="64x64"):
        check_pair(make_spec(height=64, width=64), city.facts)


def test_a_truth_that_cannot_be_made_is_an_error_here():
    with pytest.raises(EnvError, match="NoSuchWorld"):
        TruthProcess("NoSuchWorld-v0", {})


def test_a_dead_truth_is_an_error_and_not_a_hang():
    truth = TruthProcess("counting_world:CountingWorld-v0", {})
    truth._process.kill()
    truth._process.join()
    with pytest.raises(EnvError, match="has ended"):
        truth.ask("facts")
    truth.close()
