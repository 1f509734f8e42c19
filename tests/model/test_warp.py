import torch

from worldsim.model.warp import sample_cubic, warp


def _picture(seed=0):
    return torch.rand((2, 3, 24, 20), generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_a_flow_of_whole_pixels_moves_pixels_and_changes_none():
    image = _picture()
    flow = torch.zeros(2, 2, 24, 20)
    flow[:, 0], flow[:, 1] = 3.0, -2.0  # sampled from 3 to the right and 2 above
    moved = warp(image, flow)
    torch.testing.assert_close(moved[:, :, 2:, :-3], image[:, :, :-2, 3:], atol=1e-5, rtol=0)


def test_moving_again_and_again_makes_no_level_that_was_not_there():
    image = _picture()
    lowest, highest = image.amin(dim=(2, 3)), image.amax(dim=(2, 3))
    flow = torch.full((2, 2, 24, 20), 0.4)
    moved = image
    for _ in range(100):
        moved = warp(moved, flow if torch.rand(()) < 0.5 else -flow)
        assert (moved.amin(dim=(2, 3)) >= lowest).all()
        assert (moved.amax(dim=(2, 3)) <= highest).all()


def test_a_sample_lies_within_the_levels_around_its_place():
    image = _picture()
    grid = torch.rand((2, 24, 20, 2), generator=torch.Generator().manual_seed(1)) * 2.4 - 1.2  # some beyond the border
    x = ((grid[..., 0].clamp(-1, 1) + 1) / 2 * 19).round().long()
    y = ((grid[..., 1].clamp(-1, 1) + 1) / 2 * 23).round().long()
    sampled = sample_cubic(image, grid)
    for b, i, j in [(0, 0, 0), (0, 5, 7), (1, 20, 3), (1, 23, 19), (0, 12, 12)]:
        cx, cy = int(x[b, i, j]), int(y[b, i, j])
        around = image[b, :, max(cy - 1, 0) : cy + 2, max(cx - 1, 0) : cx + 2].flatten(1)
        assert (sampled[b, :, i, j] >= around.amin(dim=1)).all()
        assert (sampled[b, :, i, j] <= around.amax(dim=1)).all()


def test_the_flow_learns_where_a_picture_went():
    image = torch.nn.functional.interpolate(_picture()[:, :, :6, :5], size=(24, 20), mode="bicubic")
    target = warp(image, torch.full((2, 2, 24, 20), 1.5))
    flow = torch.zeros(2, 2, 1, 1, requires_grad=True)
    optimizer = torch.optim.Adam([flow], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        (warp(image, flow.expand(2, 2, 24, 20)) - target).square().mean().backward()
        optimizer.step()
    torch.testing.assert_close(flow.detach(), torch.full((2, 2, 1, 1), 1.5), atol=0.05, rtol=0)
