from worldsim.model.sampler import schedule


def test_noise_levels_rise_from_pure_noise_and_stay_below_the_data():
    for num_steps in (1, 2, 4):
        levels = schedule(num_steps)
        assert levels[0] == 0
        assert levels == sorted(levels)
        assert levels[-1] < 1
