"""A renderer starts as the plain colours, sees what the depth says, and is a value on disk."""

import json

import numpy as np
import pytest
import torch

from worldsim.errors import CheckpointError, EnvError
from worldsim.model import (
    PLAIN_MODES,
    Renderer,
    RendererConfig,
    RendererSpec,
    bundled,
    load,
    load_renderer,
    new_renderer,
    save_renderer,
    tiny_renderer,
    view_channels,
)

H, W = 16, 24
SPEC = RendererSpec(env_id="x/World-v0", env_kwargs={}, height=H, width=W, num_kinds=3, num_light=5, cameras=("front",))
LIGHT = np.array([0.0, -1.0, 0.0, 1.0, 0.3], np.float32)  # from straight above, 90 degrees of view


def _plain(num=2, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "plain": rng.integers(0, 256, (num, H, W, 3), dtype=np.uint8),
        "depth": rng.uniform(1, 160, (num, H, W)).astype(np.float32),
        "kind": rng.integers(0, 3, (num, H, W), dtype=np.uint8),
        "light": np.stack([LIGHT] * num),
    }


def _trained(seed=1):
    net = new_renderer(tiny_renderer(), SPEC, seed=0)
    with torch.no_grad():
        net.head.weight.normal_(std=0.1, generator=torch.Generator().manual_seed(seed))
    return net


KEY = {"seeds": np.array([1, 2]), "steps": np.array([0, 7])}


def test_an_untrained_renderer_shows_the_plain_colours():
    plain = _plain()
    frames = Renderer(new_renderer(tiny_renderer(), SPEC)).draw(plain, **KEY)
    assert (frames == plain["plain"]).all()


def test_one_call_needs_no_noise_and_several_are_a_function_of_seed_and_step():
    renderer, plain = Renderer(_trained()), _plain()
    other = {"seeds": np.array([1, 3]), "steps": np.array([0, 7])}
    assert (renderer.draw(plain, **KEY) == renderer.draw(plain, **other)).all()
    one, two = renderer.draw(plain, sampler_steps=3, **KEY), renderer.draw(plain, sampler_steps=3, **other)
    assert (one == renderer.draw(plain, sampler_steps=3, **KEY)).all()
    assert (one[0] == two[0]).all()
    assert (one[1] != two[1]).any()


def test_the_frame_before_counts_and_so_does_there_being_none():
    renderer, plain = Renderer(_trained()), _plain()
    grey = np.full((2, H, W, 3), 127, np.uint8)
    alone, upon_grey = renderer.draw(plain, **KEY), renderer.draw(plain, grey, **KEY)
    assert (alone != upon_grey).any()
    assert (upon_grey != renderer.draw(plain, grey + 60, **KEY)).any()


def test_a_noise_level_of_zero_hides_the_noisy_frame():
    net, plain = _trained(), _plain()
    scene = {name: torch.from_numpy(plain[name]) for name in PLAIN_MODES}
    scene["depth"] = scene["depth"].half()
    view = view_channels(**scene, num_kinds=3)
    noise, nothing = torch.randn(2, 3, H, W), torch.zeros(2, 4, H, W)
    with torch.inference_mode():
        pure = net(noise, torch.zeros(2), view, scene["light"], nothing)
        assert torch.equal(pure, net(None, torch.zeros(2), view, scene["light"], nothing))
        assert not torch.equal(pure, net(noise, torch.full((2,), 0.5), view, scene["light"], nothing))


@pytest.mark.parametrize(
    ("normal", "lit"),
    [((0.0, -1.0, 0.0), 1.0), ((0.0, 0.0, -1.0), 0.0), ((-0.6, -0.48, -0.64), 0.48)],
    ids=["a floor", "a wall ahead", "a slope"],
)
def test_the_depth_of_a_plane_gives_its_normal_and_its_light(normal, lit):
    y, x = np.meshgrid((np.arange(H) + 0.5) * 2 / H - 1, ((np.arange(W) + 0.5) * 2 / W - 1) * W / H, indexing="ij")
    along = -(normal[0] * x + normal[1] * y + normal[2])  # of rays (x, y, 1) against the normal
    depth = np.where(along > 0.05, 4.0 / np.maximum(along, 1e-3), 160.0)[None]
    seen = torch.from_numpy(along > 0.2)
    plain = torch.zeros(1, H, W, 3, dtype=torch.uint8)
    kind, light = torch.ones(1, H, W, dtype=torch.uint8), torch.from_numpy(LIGHT)[None]
    view = view_channels(plain, torch.from_numpy(depth).half(), kind, light, 3)[0]
    found = view[10:13, seen].mean(dim=1)
    assert torch.allclose(found, torch.tensor(normal), atol=0.03)
    assert view[7, seen].mean() == pytest.approx(lit, abs=0.03)


def test_a_saved_renderer_is_loaded_as_it_was_in_bfloat16(tmp_path):
    net = _trained()
    save_renderer(tmp_path / "x", net, metrics={"psnr": 1.0}, meta={"env_fingerprint": "f"})
    renderer = load_renderer(tmp_path / "x")
    assert (renderer.name, renderer.spec, renderer.config) == ("x", SPEC, tiny_renderer())
    assert renderer.metrics == {"psnr": 1.0}
    assert renderer.meta["env_fingerprint"] == "f"
    assert renderer.num_parameters == sum(value.numel() for value in net.parameters())
    rounded = {name: value.bfloat16().float() for name, value in net.state_dict().items()}
    net.load_state_dict(rounded)
    assert (renderer.draw(_plain(), **KEY) == Renderer(net).draw(_plain(), **KEY)).all()


def test_bfloat16_moves_few_pixels_by_more_than_a_level():
    renderer, plain = Renderer(_trained()), _plain()
    apart = renderer.draw(plain, **KEY).astype(int) - renderer.draw(plain, bfloat16=True, **KEY)
    assert np.abs(apart).mean() < 1


def test_a_default_renderer_is_within_the_size_of_a_bundled_one():
    spec = RendererSpec(env_id="", env_kwargs={}, height=64, width=64, num_kinds=6, num_light=11, cameras=())
    assert sum(value.numel() for value in new_renderer(RendererConfig(), spec).parameters()) <= 2_900_000


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "metrics.json").unlink(), "metrics.json missing"),
        (lambda path: (path / "model.safetensors").write_bytes(b"x"), "damaged"),
        (lambda path: (path / "renderer.json").write_text("{}"), "damaged"),
        (lambda path: _rewrite(path, format=99), "format 99"),
        (lambda path: _rewrite(path, config={"widths": [8, 24], "dim": 16}), "damaged"),
    ],
)
def test_what_is_wrong_with_a_checkpoint_is_said(tmp_path, damage, message):
    save_renderer(tmp_path, _trained(), metrics={}, meta={})
    damage(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        load_renderer(tmp_path)


def _rewrite(path, **changes):
    file = path / "renderer.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_world_models_and_renderers_are_not_taken_for_each_other(tmp_path):
    save_renderer(tmp_path / "r", _trained(), metrics={}, meta={})
    with pytest.raises(CheckpointError, match="no model"):
        load(tmp_path / "r")
    with pytest.raises(CheckpointError, match="no renderer"):
        load_renderer(bundled()[0])


def test_arrays_that_do_not_fit_are_said():
    plain = _plain()
    for name in PLAIN_MODES:
        with pytest.raises(EnvError, match=f"draws from '{name}'"):
            Renderer(_trained()).draw({**plain, name: plain[name][:, :3]}, **KEY)
    for previous in (plain["plain"][:1], plain["plain"].astype(np.float32)):
        with pytest.raises(EnvError, match="frames before must be"):
            Renderer(_trained()).draw(plain, previous, **KEY)
    with pytest.raises(EnvError, match="knows 3 kinds, from 0; got 7"):
        Renderer(_trained()).draw({**plain, "kind": plain["kind"] + 7 * (plain["kind"] == 0)}, **KEY)
    with pytest.raises(EnvError, match="sampler_steps must be at least 1"):
        Renderer(_trained()).draw(plain, sampler_steps=0, **KEY)
