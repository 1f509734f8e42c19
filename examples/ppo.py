"""A loop in the manner of CleanRL: proximal policy optimisation on imagined streams, then a score in the truth.

Note the mode: with SAME_STEP the frame after an end already belongs to the next episode, so every transition counts.
"""

import sys

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.distributions import Normal

import worldsim

NUM_ENVS, NUM_STEPS, EPOCHS, MINIBATCHES = 8, 16, 2, 4
GAMMA, LAMBDA, CLIP, RATE = 0.97, 0.95, 0.2, 3e-4


class Agent(nn.Module):
    """Frames (N, H, W, 3) uint8 to a normal distribution over actions and a value."""

    def __init__(self, envs):
        super().__init__()
        height, width, _ = envs.single_observation_space.shape
        num_actions = envs.single_action_space.shape[0]
        self.see = nn.Sequential(
            nn.Conv2d(3, 16, 8, stride=4),
            nn.ReLU(),
            nn.Conv2d(16, 32, 4, stride=2),
            nn.ReLU(),
            nn.Flatten(),
        )
        dim = self.see(torch.zeros(1, 3, height, width)).shape[1]
        self.mean, self.value = nn.Linear(dim, num_actions), nn.Linear(dim, 1)
        nn.init.zeros_(self.mean.weight)
        self.log_std = nn.Parameter(torch.full((num_actions,), -0.7))

    def forward(self, obs):
        """Return the distribution and the value (N,)."""
        x = self.see(torch.as_tensor(obs).movedim(-1, 1).float() / 255)
        return Normal(self.mean(x), self.log_std.exp()), self.value(x)[:, 0]


def main(model="city-64", updates=40, true_episodes=2):
    torch.manual_seed(0)
    # In the truth an episode lasts 1,000 steps; a dream is to be trusted for fewer.
    envs = gym.make_vec("worldsim/Dream-v0", num_envs=NUM_ENVS, model=model, horizon=32, autoreset_mode="SameStep")
    low, high = envs.single_action_space.low, envs.single_action_space.high
    agent = Agent(envs)
    optimiser = torch.optim.Adam(agent.parameters(), lr=RATE)
    before = true_return(agent, model, int(true_episodes))
    obs, _ = envs.reset(seed=0)
    for update in range(int(updates)):
        seen, acted, log_probs, values, rewards, ends = [], [], [], [], [], []
        for _ in range(NUM_STEPS):
            with torch.no_grad():
                policy, value = agent(obs)
                action = policy.sample()
            seen.append(torch.as_tensor(obs))
            acted.append(action)
            values.append(value)
            log_probs.append(policy.log_prob(action).sum(1))
            obs, reward, terminated, truncated, infos = envs.step(np.clip(action.numpy(), low, high))
            cut = truncated & ~terminated  # not over: what would have come is worth the value of the last frame
            if cut.any():
                with torch.no_grad():
                    reward[cut] += GAMMA * agent(np.stack(list(infos["final_obs"][cut])))[1].numpy()
            rewards.append(torch.as_tensor(reward, dtype=torch.float32))
            ends.append(torch.as_tensor(terminated | truncated, dtype=torch.float32))
        advantages, returns = advantages_of(agent, obs, values, rewards, ends)
        improve(agent, optimiser, *map(torch.cat, (seen, acted, log_probs)), advantages, returns)
        print(f"update {update + 1}: mean imagined reward {torch.stack(rewards).mean():.3f}")
    after = true_return(agent, model, int(true_episodes))
    print(f"mean return in the truth: {before:.2f} untrained, {after:.2f} trained in imagination")
    return before, after


def advantages_of(agent, obs, values, rewards, ends):
    """Return generalised advantages and the returns that values should tell, each (T * N,)."""
    with torch.no_grad():
        following = agent(obs)[1]
    advantage, advantages = torch.zeros_like(following), []
    for value, reward, end in zip(reversed(values), reversed(rewards), reversed(ends), strict=True):
        error = reward + GAMMA * (1 - end) * following - value
        advantage = error + GAMMA * LAMBDA * (1 - end) * advantage
        advantages.append(advantage)
        following = value
    advantages = torch.cat(advantages[::-1])
    return advantages, advantages + torch.cat(values)


def improve(agent, optimiser, seen, acted, log_probs, advantages, returns):
    """Climb the clipped objective for some epochs."""
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-6)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(seen)).chunk(MINIBATCHES):
            policy, value = agent(seen[rows])
            ratio = (policy.log_prob(acted[rows]).sum(1) - log_probs[rows]).exp()
            gain = torch.minimum(ratio * advantages[rows], ratio.clamp(1 - CLIP, 1 + CLIP) * advantages[rows])
            loss = -gain.mean() + 0.5 * (value - returns[rows]).square().mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimiser.step()


def true_return(agent, model, episodes, steps=100):
    """Return the mean return of the agent's mean action in the truth."""
    spec = worldsim.load(model).spec
    env = gym.make(spec.env_id, **spec.env_kwargs)
    total = 0.0
    for seed in range(200_000, 200_000 + episodes):
        obs, _ = env.reset(seed=seed)
        for _ in range(steps):
            with torch.no_grad():
                action = agent(obs[None])[0].mean[0].numpy()
            obs, reward, terminated, _, _ = env.step(np.clip(action, env.action_space.low, env.action_space.high))
            total += reward
            if terminated:
                break
    env.close()
    return total / episodes


if __name__ == "__main__":
    main(*sys.argv[1:])
