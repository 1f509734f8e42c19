"""Pixel metrics, statistics and ensemble scores of the physics benchmark, on arrays whose answer is known."""

import numpy as np
import pytest

from worldsim.evaluate.physics.ensembles import held, score_ensemble
from worldsim.evaluate.physics.pixels import TruePixels, physics_iq, physics_iq_verified, pisa
from worldsim.evaluate.physics.statistics import (
    bootstrap,
    interquartile_mean,
    label_permutation,
    paired_p,
    rank_agreement,
    slope,
)

SIZE, STEPS = 48, 12


def moving_square(dx=2, start=4, width=8):
    """A red square on grey that moves by ``dx`` px a frame, and its masks."""
    frames = np.full((STEPS, SIZE, SIZE, 3), 190, np.uint8)
    masks = np.zeros((STEPS, SIZE, SIZE), bool)
    for t in range(STEPS):
        left = start + dx * t
        masks[t, 20:28, left : left + width] = True
    frames[masks] = (230, 30, 30)
    return frames, masks


def test_equal_frames_have_the_best_pixel_figures():
    frames, masks = moving_square()
    curves = TruePixels(frames, frames[0], masks).curves(frames)
    assert np.all(curves.psnr == 100) and np.allclose(curves.ssim, 1) and np.allclose(curves.ssim_object, 1)


def test_object_pixels_see_a_lost_object_more_than_the_whole_frame_does():
    frames, masks = moving_square()
    lost = np.full_like(frames, 190)
    curves = TruePixels(frames, frames[0], masks).curves(lost)
    assert np.all(curves.psnr_object < curves.psnr - 5)
    assert np.nanmean(curves.ssim_object) < np.mean(curves.ssim) - 0.2


def test_a_region_that_is_empty_has_no_figure():
    frames, masks = moving_square(dx=0)
    curves = TruePixels(frames, frames[0], masks & False).curves(frames)
    assert np.isnan(curves.psnr_object).all() and np.isnan(curves.psnr_moving).all()


def test_physics_iq_terms_of_the_truth_are_perfect_and_of_a_frozen_video_are_not():
    truth, _ = moving_square()
    assert physics_iq(truth, truth) == {
        "spatial_iou": 1.0,
        "spatiotemporal_iou": 1.0,
        "weighted_spatial_iou": 1.0,
        "mse": 0.0,
    }
    frozen = physics_iq(np.repeat(truth[:1], STEPS, axis=0), truth)
    assert frozen["spatial_iou"] == frozen["weighted_spatial_iou"] == 0
    assert frozen["spatiotemporal_iou"] == pytest.approx(1 / STEPS)  # its first mask is empty in both by definition


def test_the_verified_score_is_a_hundred_for_a_second_take_and_falls_with_delay():
    truth, _ = moving_square()
    second, _ = moving_square(start=5)
    late = truth[np.maximum(np.arange(STEPS) - 3, 0)]
    variance = physics_iq(second, truth)
    scores = [
        physics_iq_verified(physics_iq(frames, truth), variance)
        for frames in (second, late, truth[:1].repeat(STEPS, 0))
    ]
    assert scores[0] == 100 > scores[1] > scores[2]


def test_pisa_gives_the_distance_that_was_put_in_and_the_worst_for_a_lost_object():
    _, truth = moving_square()
    shifted = np.roll(truth, 4, axis=2)
    found = pisa(shifted, truth)
    assert found["l2"] == pytest.approx([4 / 2 / (2**0.5 * SIZE)] * STEPS)  # 4 px in one of two coordinates
    assert found["iou"] == pytest.approx([4 / 12] * STEPS)
    exact, lost = pisa(truth, truth), pisa(truth & False, truth)
    assert not exact["l2"].any() and not exact["chamfer"].any() and (exact["iou"] == 1).all()
    assert not lost["iou"].any() and (lost["l2"] > 0.7).all()
    hidden = truth.copy()
    hidden[3] = False
    assert np.flatnonzero(np.isnan(pisa(truth, hidden)["iou"])).tolist() == [3]


def test_an_interval_holds_its_mean_and_leaves_out_clips_without_a_value():
    found = bootstrap(np.array([1.0, 2.0, 3.0, np.nan]))
    assert (found.value, found.n) == (2.0, 3) and 1 <= found.lo < 2 < found.hi <= 3
    assert bootstrap(np.array([np.nan])).n == 0
    alone = bootstrap(np.array([2.0, np.nan]))
    assert (alone.value, alone.n) == (2.0, 1) and np.isnan([alone.lo, alone.hi]).all()
    assert interquartile_mean(np.array([0.0, 1, 1, 100.0])) == 1.0


def test_a_paired_test_sees_a_small_difference_that_every_clip_shares():
    rng = np.random.default_rng(0)
    clips = rng.normal(0, 10, 10)
    assert paired_p(clips + 0.5, clips) == pytest.approx(2 / 2**10)
    assert paired_p(clips, rng.permutation(clips)) > 0.05
    assert np.isnan(paired_p(clips[:1], clips[:1]))


def test_a_permutation_test_tells_obedient_branches_from_deaf_ones():
    rng = np.random.default_rng(0)
    deaf = np.repeat(rng.random((4, 1, 5)), 5, axis=1)  # every branch the same: errors differ by truth alone
    obedient = rng.random((4, 5, 5)) + 1 - 0.9 * np.eye(5)
    assert label_permutation(obedient) < 0.01
    assert label_permutation(deaf) == 1.0
    assert label_permutation(obedient[:1]) == pytest.approx(1 / 120)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("num_clips", [1, 2, 8])
def test_a_frozen_video_is_never_obedient_by_rounding(num_clips, dtype):
    rng = np.random.default_rng(num_clips)
    for _ in range(20):
        row = rng.uniform(1e2, 1e5, (num_clips, 1, 5)).astype(dtype)
        assert label_permutation(np.repeat(row, 5, axis=1), num_samples=500) == 1.0


def test_every_flip_counts_however_large_the_numbers_are():
    rng = np.random.default_rng(0)
    for n in (6, 12):
        for _ in range(40):
            assert paired_p(rng.uniform(900, 3100, n), np.zeros(n)) == 2 / 2**n


def test_what_never_answers_follows_nothing():
    command = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    assert rank_agreement(command, np.zeros(5)) == (0.0, 0.0)
    assert rank_agreement(command, command**3) == pytest.approx((1.0, 1.0))
    assert slope(command, 0.5 * command + 3) == pytest.approx(0.5)


def test_a_calibrated_ensemble_covers_as_often_as_it_should_and_its_spread_is_its_error():
    rng = np.random.default_rng(0)
    centre = rng.normal(0, 3, (1, 400, 2, 3))
    samples, truths = centre + rng.normal(0, 1, (8, 400, 2, 3)), centre + rng.normal(0, 1, (8, 400, 2, 3))
    found = score_ensemble(samples, truths)
    assert found["expected"][0] == pytest.approx(7 / 9)
    assert np.allclose(found["coverage"], found["expected"], atol=0.03)
    assert found["spread_skill"] == pytest.approx(1, abs=0.05)


def test_too_sure_and_too_unsure_ensembles_are_told_apart_and_both_score_worse():
    rng = np.random.default_rng(1)
    truths = rng.normal(0, 1, (8, 300, 1, 3))
    found = {width: score_ensemble(rng.normal(0, width, (8, 300, 1, 3)), truths) for width in (0.2, 1.0, 5.0)}
    assert found[0.2]["spread_skill"] < 0.5 < 0.9 < found[1.0]["spread_skill"] < 1.1 < 2 < found[5.0]["spread_skill"]
    scores = {width: np.mean(figures["energy_score"]) for width, figures in found.items()}
    assert scores[1.0] < scores[0.2] and scores[1.0] < scores[5.0]


def test_one_sample_has_no_spread_and_its_score_is_its_distance():
    truths = np.zeros((4, 3, 1, 3))
    truths[:, :, :, 0] = np.arange(4)[:, None, None] * 0.01
    sample = np.zeros((1, 3, 1, 3))
    sample[..., 0] = 2.0
    found = score_ensemble(sample, truths)
    assert found["spread_skill"] == 0 and found["coverage"] == []
    assert found["energy_score"][0] == pytest.approx(2 - 0.015)


def test_a_lost_object_stays_where_it_was_and_is_counted():
    places = np.full((4, 1, 3), np.nan)
    places[1] = 5.0
    filled, missing = held(places, np.zeros((1, 3)))
    assert filled[:, 0, 0].tolist() == [0, 5, 5, 5] and missing == 0.75
