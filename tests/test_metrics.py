"""The measures: identities that hold by definition."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from worldsim import metrics


@pytest.fixture
def frames():
    """Three clips of five steps: a textured scene that drifts sideways, so that it moves and has edges."""
    rng = np.random.default_rng(0)
    scene = gaussian_filter(rng.uniform(0, 255, (3, 24, 40, 3)), (0, 1, 1, 0)) * 2 - 128
    drift = [scene[:, :, t : t + 24] for t in range(5)]
    return np.clip(np.stack(drift, axis=1), 0, 255).astype(np.uint8)  # (3, 5, 24, 24, 3)


def _pooled(values):
    return values.sum(axis=0)


def test_truth_has_skill_one_and_infinite_psnr(frames):
    errors = _pooled(metrics.squared_error(frames, frames))
    assert (metrics.skill(errors[1:], _pooled(metrics.squared_error(frames[:, :1], frames))[1:]) == 1).all()
    assert np.isposinf(metrics.psnr(errors)).all()


def test_copying_the_last_frame_has_skill_zero_on_all_and_on_moving_pixels(frames):
    last, future = frames[:, :1], frames[:, 1:]
    for mask in (None, metrics.moving_mask(future, last)):
        error = _pooled(metrics.squared_error(np.broadcast_to(last, future.shape), future, mask))
        copy = _pooled(metrics.squared_error(last, future, mask))
        assert metrics.skill(error, copy) == pytest.approx(np.zeros(4))


def test_skill_is_nan_where_nothing_moved():
    assert np.isnan(metrics.skill(np.array([3.0]), np.array([0.0]))).all()


def test_squared_error_does_not_wrap_around_in_uint8():
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    assert metrics.squared_error(black, white) == 12 * 255**2 == metrics.squared_error(white, black)
    assert metrics.mse(black, white) == 255**2
    assert metrics.psnr(metrics.mse(black, white)) == pytest.approx(0.0)


def test_a_mask_leaves_out_every_other_pixel(frames):
    mask = np.zeros(frames.shape[:-1], bool)
    mask[..., :12, :] = True
    spoiled = frames.copy()
    spoiled[..., 12:, :, :] ^= 255
    assert (metrics.squared_error(spoiled, frames, mask) == 0).all()
    assert (metrics.squared_error(spoiled, frames) > 0).all()


def test_a_pixel_moves_when_one_channel_differs_by_more_than_ten_levels():
    last = np.full((1, 3, 3), 100, np.uint8)
    truth = last.copy()
    truth[0, 0, 2] = 111
    truth[0, 1, 0] = 110
    truth[0, 2, 1] = 89
    assert metrics.moving_mask(truth, last).tolist() == [[True, False, True]]


def test_psnr_of_a_pooled_error_is_not_the_mean_of_decibels():
    still, moving = 0.01, 1000.0
    pooled = metrics.psnr(np.array((still + moving) / 2))
    assert pooled < 22 < np.mean(metrics.psnr(np.array([still, moving])))


def test_ssim_is_one_for_the_truth_and_falls_with_a_shift(frames):
    assert metrics.ssim(frames, frames) == pytest.approx(np.ones((3, 5)), abs=1e-5)
    near = metrics.ssim(shift(frames[0, 0], (0, 1, 0), order=1, mode="nearest"), frames[0, 0])
    far = metrics.ssim(shift(frames[0, 0], (0, 4, 0), order=1, mode="nearest"), frames[0, 0])
    assert far < near < 1


def test_ssim_ignores_leading_axes(frames):
    blurred = gaussian_filter(frames, (0, 0, 1, 1, 0))
    assert metrics.ssim(blurred, frames)[1, 2] == pytest.approx(metrics.ssim(blurred[1, 2], frames[1, 2]), abs=1e-6)


def test_blur_lowers_sharpness_and_noise_raises_it(frames):
    blurred = gaussian_filter(frames, (0, 0, 1, 1, 0))
    noisy = np.clip(frames + np.random.default_rng(0).normal(0, 20, frames.shape), 0, 255)
    assert metrics.sharpness(frames, frames) == 1
    assert metrics.sharpness(blurred, frames) < 0.8
    assert metrics.sharpness(noisy, frames) > 1.1


@pytest.mark.parametrize("n", [2, 3, 8, 64])
def test_a_derangement_moves_every_clip_and_repeats_by_seed(n):
    order = metrics.derangement(n, seed=3)
    assert sorted(order) == list(range(n))
    assert (order != np.arange(n)).all()
    assert (order == metrics.derangement(n, seed=3)).all()


def test_one_clip_has_no_derangement():
    with pytest.raises(ValueError, match="at least 2"):
        metrics.derangement(1, seed=0)


def test_the_interval_holds_the_pooled_ratio_and_narrows_with_more_clips():
    rng = np.random.default_rng(0)
    widths = []
    for num_clips in (10, 200):
        denominator = rng.uniform(1, 3, (num_clips, 4))
        numerator = denominator * rng.uniform(0.2, 0.8, (num_clips, 4))
        low, high = metrics.pooled_ratio_interval(numerator, denominator)
        ratio = numerator.sum(0) / denominator.sum(0)
        assert ((low < ratio) & (ratio < high)).all()
        widths.append((high - low).mean())
    assert widths[1] < 0.5 * widths[0]


def test_the_interval_of_identical_clips_has_no_width():
    low, high = metrics.pooled_ratio_interval(np.full((6, 2), 3.0), np.full((6, 2), 4.0))
    assert low == pytest.approx([0.75, 0.75]) and high == pytest.approx([0.75, 0.75])


def test_a_step_without_clips_has_no_interval():
    numerator, denominator = np.array([[1.0, 0], [2, 0]]), np.array([[2.0, 0], [4, 0]])
    low, high = metrics.pooled_ratio_interval(numerator, denominator)
    assert np.isnan(low[1]) and np.isnan(high[1]) and low[0] == high[0] == 0.5
