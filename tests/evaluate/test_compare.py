"""Comparisons with models whose figures are known beforehand: exact, still, noisy, wrong."""

import json
from dataclasses import replace

import numpy as np
import pytest
from rolling_world import ENV_ID, SPEC, RollingModel

from worldsim.collect import env_fingerprint
from worldsim.errors import ActionError, EnvError
from worldsim.evaluate import compare
from worldsim.evaluate.clips import conditions_of, record_clips
from worldsim.evaluate.imagine import action_matrix, imagine

DESIGN_KEYS = {
    *("model", "checkpoint_sha", "env", "policy", "episodes", "horizon", "seed", "n", "skill", "skill_moving"),
    *("skill_mean8", "sample_spread", "psnr", "psnr_copy_last", "ssim", "sharpness", "action_shuffle_ratio"),
    *("imagined_frames_per_second", "imagined_frames_per_second_batch64", "sampler_steps", "threads", "commit"),
    "skill_ci",
}


def run(model, **options):
    return compare(model, ENV_ID, **{"episodes": 4, "horizon": 18, "speed": False, **options})


def clips_of(**options):
    wanted = {"episodes": 6, "horizon": 12, "seed": 5, "num_context": 3, **options}
    return record_clips(ENV_ID, **wanted)


def test_an_exact_model_has_skill_one_everywhere():
    figures = run(RollingModel()).json
    assert figures["skill"] == figures["skill_moving"] == figures["skill_mean8"] == [1.0] * 18
    assert figures["skill_ci"] == [[1.0, 1.0]] * 18
    assert figures["sharpness"] == [1.0] * 18 and figures["sample_spread"] == [0.0] * 18
    assert figures["psnr"] == [None] * 18  # infinite
    assert figures["ssim"] == pytest.approx([1.0] * 18, abs=1e-4)


def test_a_model_that_stands_still_has_skill_zero_and_ignores_actions():
    figures = run(RollingModel(still=True)).json
    assert figures["skill"] == figures["skill_moving"] == [0.0] * 18
    assert figures["psnr"] == figures["psnr_copy_last"]
    assert figures["action_shuffle_ratio"] == 1.0


def test_wrong_actions_are_worse_for_a_model_that_heeds_them():
    assert run(RollingModel(noise=5)).json["action_shuffle_ratio"] > 10


def test_one_clip_has_no_shuffle_ratio():
    assert run(RollingModel(), episodes=1).json["action_shuffle_ratio"] is None


def test_the_mean_of_eight_noise_samples_has_an_eighth_of_their_error():
    figures = run(RollingModel(noise=10), sampler_steps=2).json
    assert figures["sample_spread"] == pytest.approx([10.0] * 18, rel=0.15)
    loss = (1 - np.array(figures["skill"])) / (1 - np.array(figures["skill_mean8"]))
    assert loss == pytest.approx(np.full(18, 8.0), rel=0.25)
    assert all(s > 1 for s in figures["sharpness"])


def test_no_two_streams_share_their_noise():
    model = RollingModel()
    run(model, sampler_steps=2)
    seeds = np.concatenate([seeds for _, _, _, seeds in model.seen[:1]])
    assert len(set(seeds)) == len(seeds) == 4 * 8


def test_the_json_has_every_key_and_survives_a_round_trip():
    figures = run(RollingModel(noise=5)).json
    assert set(figures) >= DESIGN_KEYS
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert figures["n"] == [4] * 18 and figures["policy"] == "mixture" and figures["seed"] == 200_000
    assert set(figures["rows"]) == {"model", "copy_last", "linear_extrapolation", "shuffled_actions", "truth"}
    assert figures["rows"]["truth"]["skill"] == [1.0] * 18 and figures["rows"]["copy_last"]["skill"] == [0.0] * 18
    assert len(figures["rows"]["shuffled_actions"]["skill"]) == 16


def test_the_same_comparison_gives_the_same_figures_and_frames():
    first, second = run(RollingModel(noise=5)), run(RollingModel(noise=5))
    assert first.json == second.json
    assert all((a.imagined.obs == b.imagined.obs).all() for a, b in zip(first.rollouts, second.rollouts, strict=True))


def test_batches_of_any_size_give_the_same_figures():
    assert run(RollingModel(noise=5), batch_size=8).json == run(RollingModel(noise=5), batch_size=640).json


def test_the_model_sees_context_frames_and_then_actions_only():
    (clip,) = clips_of(episodes=1).clips
    future = clip.truth.obs.copy()
    future[clip.start + 1 :] = np.random.default_rng(0).permutation(future[clip.start + 1 :])
    permuted = replace(clip, truth=replace(clip.truth, obs=future))
    assert (permuted.future != clip.future).any()
    model = RollingModel(noise=5)
    frames = [imagine(model, [c], action_matrix([c], 12), samples=range(8)).frames for c in (clip, permuted)]
    assert (frames[0] == frames[1]).all()
    assert model.seen[0][0].shape == (8, 3, 32, 32, 3) and model.seen[0][1].shape == (8, 2, 2)
    assert (model.seen[0][0][0, -1] == clip.truth.obs[clip.start]).all() and model.seen[0][2] == (None,) * 8


def test_clips_use_the_seeds_asked_for_and_start_after_20_to_60_steps():
    clips = clips_of(episodes=12).clips
    assert [clip.seed for clip in clips] == list(range(5, 17)) == [clip.truth.seed for clip in clips]
    assert all(20 <= clip.start <= 60 for clip in clips) and len({clip.start for clip in clips}) > 6
    assert all(len(clip) == 12 for clip in clips)


def test_steps_behind_the_truths_end_do_not_count():
    report = run(RollingModel(), env_kwargs={"life": (30, 70)}, episodes=12)
    n = report.json["n"]
    assert n[0] == 12 and n == sorted(n, reverse=True) and n[-1] < 12
    assert n == [sum(len(pair.truth) > t for pair in report.rollouts) for t in range(18)]
    assert report.json["skill"][0] == 1.0
    assert report.json["termination"]["true_ends"] == sum(pair.truth.terminated.any() for pair in report.rollouts) > 0


def test_a_step_without_clips_is_null():
    report = run(RollingModel(), env_kwargs={"life": 30}, horizon=40)
    assert (
        report.json["n"][-1] == 0 and report.json["skill"][-1] is None and report.json["skill_ci"][-1] == [None, None]
    )


def test_an_end_inside_the_warm_up_shortens_it_and_is_counted():
    clips = clips_of(env_kwargs={"life": 30})
    assert clips.warm_ups_shortened > 0 and clips.seeds_replaced == 0 and len(clips.clips) == 6
    assert all(20 <= clip.start < 30 and len(clip) >= 1 for clip in clips.clips)


def test_an_end_before_the_shortest_warm_up_takes_the_next_seed_of_the_clip_and_is_counted():
    clips = clips_of(env_kwargs={"life": (10, 60)}, episodes=8)
    assert clips.seeds_replaced > 0 and len(clips.clips) == 8
    assert [(clip.seed - 5) % 8 for clip in clips.clips] == list(range(8))


def test_a_truth_that_always_ends_early_is_refused_in_one_line():
    with pytest.raises(EnvError, match=r"more than 20 steps.*RollingWorld"):
        clips_of(env_kwargs={"life": 15})


def test_ends_are_scored_and_never_drop_steps():
    late = run(RollingModel(end_at=5), episodes=3)
    assert late.json["n"] == [3] * 18
    assert late.json["termination"] == {
        **{"true_ends": 0, "right": 0, "early": 3, "missed": 0},
        **{"tolerance_steps": 3, "threshold": 0.5},
    }


def test_both_rollouts_of_a_clip_have_the_same_start_actions_and_length():
    for pair in run(RollingModel(noise=3), env_kwargs={"life": (30, 70)}).rollouts:
        assert len(pair.truth) == len(pair.imagined) and (pair.truth.action == pair.imagined.action).all()
        assert (pair.truth.obs[0] == pair.imagined.obs[0]).all() and (pair.truth.obs[1] != pair.imagined.obs[1]).any()
        assert pair.imagined.source == "imagined" and pair.imagined.model == "rolling"
        assert (pair.truth.terminated | pair.truth.truncated).tolist() == [False] * (len(pair.truth) - 1) + [True]
        assert pair.truth.caption[0].t == 0


def test_conditions_have_their_own_skill():
    by_weather = run(RollingModel(), episodes=8).json["conditions"]["weather"]
    assert sum(row["episodes"] for row in by_weather.values()) == 8
    assert all(row["skill"] == {"1": 1.0, "8": 1.0, "16": 1.0} for row in by_weather.values())


def test_conditions_are_those_at_the_start_and_not_at_the_reset():
    clips = clips_of(env_kwargs={"change_step": 40}, episodes=12).clips
    late = [clip.start >= 40 for clip in clips]
    assert any(late) and not all(late)
    assert [conditions_of(clip.window())["weather"] == "fog" for clip in clips] == late
    assert [conditions_of(clip.truth, clip.start)["weather"] == "fog" for clip in clips] == late


def test_seeds_of_the_training_are_a_warning():
    assert "flatter" in run(RollingModel(card={"seeds": {"min": 0, "max": 300_000}})).json["warnings"][0]
    assert run(RollingModel(card={"seeds": {"min": 0, "max": 9_999}})).json["warnings"] == []


def test_a_truth_that_changed_since_the_training_is_a_warning():
    now = env_fingerprint(ENV_ID)
    assert run(RollingModel(meta={"env_fingerprint": now})).json["warnings"] == []
    assert "no longer looks" in run(RollingModel(meta={"env_fingerprint": "0" * 16})).json["warnings"][0]


def test_another_truth_than_the_models_is_a_warning():
    model = RollingModel(spec=replace(SPEC, env_id="worldsim/City-v0"))
    assert "not on RollingWorld-v0" in run(model).json["warnings"][0]


def test_a_truth_of_another_size_is_refused_with_both_sizes():
    told = []
    with pytest.raises(EnvError, match=r"32x32.*48x48"):
        run(RollingModel(), env_kwargs={"size": 48}, progress=lambda *done: told.append(done))
    assert not told  # after the first clip, not after all


def test_a_truth_with_other_actions_is_refused_before_all_is_recorded():
    told = []
    narrow = replace(SPEC, action_low=(-0.01, -0.01), action_high=(0.01, 0.01))
    with pytest.raises(ActionError):
        run(RollingModel(spec=narrow), progress=lambda *done: told.append(done))
    assert not told


def test_an_unknown_truth_is_refused():
    with pytest.raises(EnvError, match="Nowhere"):
        compare(RollingModel(spec=replace(SPEC)), "Nowhere-v0", episodes=1, horizon=1)
