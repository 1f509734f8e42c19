"""Planning finds the actions that a cost asks for, from one moment, in batched imagination."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from tiny_models import make_spec, write_checkpoint

from worldsim.errors import EnvError
from worldsim.model import Imagined, Prediction, load
from worldsim.sim import PlanConfig, Planner, WorldModelEnv, plan
from worldsim.sim.plan import minus_return

CONFIG = PlanConfig(horizon=4, num_samples=16, num_elites=4, num_rounds=4, hold=2)
WANTED = np.array([0.6, -0.4])


def near_wanted(imagined):
    return ((imagined.actions - WANTED) ** 2).sum(axis=(1, 2))


@pytest.fixture
def moment(model):
    env = WorldModelEnv(model)
    env.reset(seed=0)
    return env.snapshot()


def test_rounds_come_nearer_to_what_the_cost_asks_for(model, moment):
    made = plan(model, moment.state, near_wanted, config=CONFIG, rng=np.random.default_rng(0))
    assert made.actions.shape == (4, 2)
    np.testing.assert_array_equal(made.actions[0], made.actions[1])  # held for two steps
    assert made.cost == min(made.costs) < made.costs[0]
    assert np.abs(made.actions - WANTED).mean() < 0.15


def test_a_plan_costs_what_its_actions_cost_when_they_are_taken(model, moment):
    def darkness(imagined):
        return imagined.frames[:, -1].mean(axis=(1, 2, 3))

    made = plan(model, moment.state, darkness, config=CONFIG, rng=np.random.default_rng(0))
    env = WorldModelEnv(model)
    env.restore(moment)
    for action in made.actions:
        obs, *_ = env.step(action)
    assert obs.mean() == pytest.approx(made.cost, abs=1)


def test_the_same_seed_makes_the_same_plan_and_leaves_the_state_alone(model, moment):
    kept = moment.state.to_bytes()
    plans = [plan(model, moment.state, near_wanted, config=CONFIG, rng=np.random.default_rng(3)) for _ in range(2)]
    np.testing.assert_array_equal(plans[0].actions, plans[1].actions)
    assert moment.state.to_bytes() == kept


def test_a_reward_after_the_end_does_not_count():
    reward = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    end = np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    steps = [
        Prediction(pixels=torch.zeros((2, 4, 4, 3), dtype=torch.uint8), reward=reward[:, t], terminate_prob=end[:, t])
        for t in range(3)
    ]
    imagined = Imagined(actions=np.zeros((2, 3, 2)), predictions=steps)
    assert minus_return(imagined).tolist() == [-3, -2]


def test_a_planner_drives_the_truth_and_looks_back_on_what_it_saw(model):
    truth = gym.make(model.spec.env_id, **model.spec.env_kwargs)
    obs, info = truth.reset(seed=200_000)
    planner = Planner(model, near_wanted, config=CONFIG)
    warm = np.array([0.1, 0.2], np.float32)
    for _ in range(6):
        planner.observe(obs, warm)
        obs, *_, info = truth.step(warm)
    first = planner(obs, info)
    obs, *_, info = truth.step(first)
    second = planner(obs, info)
    assert np.abs(second - WANTED).mean() < 0.15
    assert planner.plan is not None
    assert planner.plan.cost <= 0.2
    again = Planner(model, near_wanted, config=CONFIG)
    again.observe(obs, warm)
    assert again(obs, info) in truth.action_space
    truth.close()


def test_what_cannot_be_planned_is_refused(model, moment, tmp_path):
    rng = np.random.default_rng(0)
    with pytest.raises(EnvError, match="one stream"):
        plan(model, moment.state.take([0, 0]), config=CONFIG, rng=rng)
    with pytest.raises(EnvError, match="num_elites"):
        plan(model, moment.state, config=PlanConfig(num_samples=4, num_elites=5), rng=rng)
    with pytest.raises(EnvError, match="at least 1"):
        plan(model, moment.state, config=PlanConfig(horizon=0), rng=rng)
    with pytest.raises(EnvError, match="one per sequence"):
        plan(model, moment.state, lambda imagined: np.zeros(3), config=CONFIG, rng=rng)
    with pytest.raises(EnvError, match="a guess must be"):
        plan(model, moment.state, config=CONFIG, rng=rng, guess=np.zeros((CONFIG.horizon - 1, 2)))
    spec = make_spec(
        action_kind="discrete", action_shape=(), action_low=(), action_high=(), action_counts=(3,), action_spec=()
    )
    discrete = load(write_checkpoint(tmp_path / "m", spec))
    env = WorldModelEnv(discrete)
    env.reset(seed=0)
    with pytest.raises(EnvError, match="Box"):
        plan(discrete, env.snapshot().state, rng=rng)
