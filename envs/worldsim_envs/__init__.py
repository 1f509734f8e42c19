"""The ground truth of worldsim: true worlds in pybullet, each a Gymnasium env that follows the truth protocol."""
