import torch

from worldsim.model.sampler import schedule, sharpen


def _gradient(frames):
    return frames.diff(dim=-1).abs().max()


def test_noise_levels_rise_from_pure_noise_and_stay_below_the_data():
    for num_steps in (1, 2, 4):
        levels = schedule(num_steps)
        assert levels[0] == 0
        assert levels == sorted(levels)
        assert levels[-1] < 1


def test_sharpening_steepens_edges_and_leaves_flat_areas_hatching_and_colour_casts_alone():
    step = torch.linspace(-1, 1, 5).repeat_interleave(1)
    soft_edge = torch.cat([torch.full((10,), -1.0), step, torch.full((10,), 1.0)]).expand(1, 3, 25, 25) * 0.5
    assert _gradient(sharpen(soft_edge, 0.2)) > 1.02 * _gradient(soft_edge)
    flat = torch.full((1, 3, 16, 16), 0.3)
    torch.testing.assert_close(sharpen(flat, 0.2), flat)
    hatching = ((torch.arange(16)[:, None] + torch.arange(16)) % 2 * 2.0 - 1).expand(1, 3, 16, 16) * 0.1
    assert (sharpen(hatching, 0.2) - hatching)[..., 3:-3, 3:-3].abs().max() < 1e-3
    cast = soft_edge * torch.tensor([1.0, -1.0, 0.0])[None, :, None, None]
    torch.testing.assert_close(sharpen(cast, 0.2), cast)
