"""The page on keeping rollouts is run as it is written, with fewer batches."""

import re
from pathlib import Path

from rollouts import assert_same, make_rollout

PAGE = (Path(__file__).parents[2] / "docs" / "store.md").read_text(encoding="utf-8")


def test_the_page_on_the_store_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"rollout": make_rollout(7, num_steps=40)}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block.replace("range(1000)", "range(2)"), "store.md", "exec"), names)
    assert_same(names["again"], names["rollout"])
    names["store"].refresh()
    streamed = names["store"].episode(1)
    assert (streamed.obs.tobytes(), streamed.seed) == (names["rollout"].obs.tobytes(), 8)
    assert names["obs"].shape == (17, 32, 32, 3)
    assert names["state"]["drawn"] == 2 * 2 * 64
