"""The server: one page drives, others wait, and nonsense does no harm."""

import asyncio
import contextlib
import io
import json
import random
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import gymnasium as gym
import pytest
from PIL import Image
from servers import Server
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from worldsim.errors import EnvError
from worldsim.serve import messages, worlds
from worldsim.serve.player import MAX_FAULTS, Player
from worldsim.serve.seat import MAX_WAITING
from worldsim.serve.server import play
from worldsim.store import RolloutStore


def test_a_page_is_greeted_and_gets_frames_one_at_a_time(server):
    with server.connect() as page:
        assert page.notice("hello")["controls"]["axes"][0]["name"] == "steer"
        first = page.frame(acknowledges=False)
        with pytest.raises(TimeoutError):
            page.frame(timeout=0.7)
        page.say(do="seen", frame=first["frame"])
        assert page.frame()["t"] > first["t"], "the worlds went on meanwhile, and only the newest frame comes"


def test_the_newest_input_wins_and_is_named_in_the_frame(server):
    with server.connect() as page:
        page.frame()
        for number in (1, 2, 3):
            page.say(do="act", axes=[0.1 * number, 0.5], input=number)
        header = next(h for h in iter(page.frame, None) if h["input"])
        assert header["input"] == 3 and header["action"] == [0.3, 0.5]


def test_pause_step_and_rewind_move_the_clock_as_they_say(server):
    with server.connect() as page:
        while page.frame()["t"] < 3:
            pass
        page.say(do="pause", paused=True)
        paused = next(h for h in iter(page.frame, None) if h["paused"])
        page.say(do="step")
        assert page.frame()["t"] == paused["t"] + 1
        page.say(do="rewind", steps=2)
        assert page.frame()["t"] == paused["t"] - 1


def test_a_prompt_is_answered_with_the_words_not_understood(server):
    with server.connect() as page:
        page.frame()
        page.say(do="prompt", text="雨天黄昏")
        assert page.notice("prompt")["text"] == "understood"
        page.say(do="prompt", text="rain and zebras")
        assert "zebras" in page.notice("prompt")["text"]
        page.say(do="prompt", text="qwerty")
        assert "qwerty" in page.notice("error")["text"]


def test_tabs_queue_and_a_closed_one_makes_room(server):
    with server.connect() as first:
        first.frame()
        with server.connect() as second, server.connect() as third:
            assert second.notice("queue")["ahead"] == 1
            assert third.notice("queue")["ahead"] == 2
            second.socket.close()
            assert third.notice("queue")["ahead"] == 1
            first.socket.close()
            assert third.notice("queue")["ahead"] == 0
            assert third.frame()["t"] >= 0


def test_a_drive_is_taken_home_as_gif_store_and_page(server, tmp_path):
    with server.connect() as page:
        key = page.notice("hello")["key"]
        while page.frame()["t"] < 4:
            pass
        page.say(do="pause", paused=True)
        t = next(h for h in iter(page.frame, None) if h["paused"])["t"]
        gif = Image.open(io.BytesIO(server.get(f"/drive/{key}.gif")[2]))
        assert (gif.n_frames, gif.info["duration"]) == (t + 1, 100)
        zipfile.ZipFile(io.BytesIO(server.get(f"/drive/{key}.zip")[2])).extractall(tmp_path)
        store = RolloutStore.open(tmp_path / "drive")
        assert [store.info(i).source for i in (0, 1)] == ["imagined", "truth"]
        assert len(store.episode(0)) == len(store.episode(1)) == t and not store.verify()
        assert b"imagined by" in server.get(f"/drive/{key}.html")[2]
        assert server.get(f"/drive/{key}.mp4")[2][4:8] == b"ftyp"
        assert server.get(f"/drive/{key}.exe")[0] == 404
    assert server.get(f"/drive/{key}.gif")[0] == 404, "gone with its page"
    assert server.get("/drive/guess.gif")[0] == 404


class StandIn:
    """A truth that answers nothing, and fails when it is asked after its end."""

    def __init__(self, name):
        self.facts = SimpleNamespace(
            env_id=name, env_kwargs={}, control_dt=0.1, policies=(), factors={}, cameras=(), takes_prompts=False
        )
        self.asked, self.is_closed = [], False

    def ask(self, *call):
        assert not self.is_closed
        self.asked.append(call)
        raise EnvError("not now")

    def close(self):
        self.is_closed = True


def pair_of(name):
    """Return what a page boards, as far as it looks at it before the first frame."""
    spec = SimpleNamespace(env_id=name, env_kwargs={}, height=32, width=32)
    model = SimpleNamespace(name=name, spec=spec, config=SimpleNamespace(num_context=4, sampler_steps=1))
    env = SimpleNamespace(model=model, action_space=gym.spaces.Discrete(2), action_spec=(), guidance=1.0, horizon=9)
    return worlds.Pair(env=env, truth=StandIn(name), watch=None)


class Pages:
    """Players without a network, in front of one thread of worlds."""

    def __init__(self):
        self.worlds = worlds.Worlds(pair_of("old"))
        self.thread = ThreadPoolExecutor(1)

    async def work(self, call):
        return await asyncio.get_running_loop().run_in_executor(self.thread, call)

    @contextlib.asynccontextmanager
    async def driving(self, seed=0):
        """Let a page drive."""
        player = Player(None, self.worlds, self.work, seed=seed, key="")
        task = asyncio.create_task(player.play())
        yield player
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def until(self, is_so):
        """Wait for something, and let the worlds finish what they do."""
        async with asyncio.timeout(20):
            while not is_so():
                await asyncio.sleep(0.01)


def order(player, message):
    player._commands.append(message)
    player._work_wakes.set()


def test_a_page_that_is_reloaded_while_a_world_loads_drives_that_world(monkeypatch):
    loading, loaded = threading.Event(), threading.Event()

    def open_pair(model, env_id=None):
        loading.set()
        assert loaded.wait(20)
        return pair_of("new")

    monkeypatch.setattr(worlds, "open_pair", open_pair)
    monkeypatch.setattr(worlds, "bundled", lambda: ["new"])

    async def reload():
        pages = Pages()
        async with pages.driving() as player:
            await pages.until(lambda: pages.worlds.pair.truth.asked)
            order(player, messages.World(do="world", model="new"))
            await pages.until(loading.is_set)
        async with pages.driving() as player:
            await asyncio.sleep(0.05)
            loaded.set()
            await pages.until(lambda: hasattr(player, "drive") and player.drive.truth.asked)
            assert player.drive.truth is pages.worlds.pair.truth
            assert (player.drive.env.model.name, player.drive.truth.is_closed) == ("new", False)

    asyncio.run(reload())


def test_after_the_last_seed_comes_the_first_in_another_world_too(monkeypatch):
    monkeypatch.setattr(worlds, "open_pair", lambda model, env_id=None: pair_of("new"))
    monkeypatch.setattr(worlds, "bundled", lambda: ["new"])

    async def change():
        pages = Pages()
        old = pages.worlds.pair.truth
        async with pages.driving(seed=2**31 - 1) as player:
            await pages.until(lambda: old.asked)
            order(player, messages.World(do="world", model="new"))
            await pages.until(lambda: pages.worlds.pair.truth is not old and pages.worlds.pair.truth.asked)
            return [truth.asked[0][1] for truth in (old, pages.worlds.pair.truth)]

    assert asyncio.run(change()) == [2**31 - 1, 0]


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_a_seed_that_no_drive_can_have_is_refused_at_once(seed):
    with pytest.raises(EnvError, match="seed is a number from 0"):
        play("no-such-model", seed=seed, opens_browser=False)


def test_other_sites_and_other_names_are_refused(server):
    address = f"ws://127.0.0.1:{server.port}/ws"
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://127.0.0.1:{server.port + 1}"},
    ):
        with pytest.raises(InvalidStatus):
            connect(address, additional_headers=headers)
    assert server.get("/", headers={"Host": "evil.example"})[0] == 403
    status, headers, _ = server.get("/")
    assert (status, headers["X-Frame-Options"], headers["Referrer-Policy"]) == (200, "DENY", "no-referrer")


def hostile_messages(num):
    """Messages that nobody should send; seeded."""
    rng = random.Random(0)
    fixed = [
        "", "null", "[]", "{}", "[" * 2000, "NaN", '"drive"', "\x00\x01", "{" * 50, '{"do":"act"}', '{"do":"quit"}',
        '{"do":"act","axes":[NaN,0],"input":1}', '{"do":"act","axes":[2,0],"input":1}',
        '{"do":"act","axes":[0],"input":1}', '{"do":"act","axes":[0,0],"input":-1}',
        '{"do":"act","axes":[1e400,0],"input":1}', '{"do":"act","axes":"up","input":1}',
        '{"do":"act","axes":[0,0],"choices":[1],"input":1,"extra":1}', '{"do":"rewind","steps":0}',
        '{"do":"rewind","steps":1e9}', '{"do":"reset","seed":-1}', '{"do":"reset","variation":{"a":{"b":1}}}',
        '{"do":"sampler","steps":1000000}', '{"do":"horizon","steps":0}', '{"do":"prompt","text":""}',
        json.dumps({"do": "prompt", "text": "a" * 201}), json.dumps({"do": "prompt", "text": "雨" * 600}),
        '{"do":"policy","name":5}', '{"do":"seen","frame":"1"}', '{"do":"pause","paused":"yes"}',
        '{"do":"__class__"}', b"\x00" * 100, b"", "\ud7ff" * 1000,
    ]  # fmt: skip
    while len(fixed) < num:
        fixed.append("".join(chr(rng.randrange(32, 0x2FFF)) for _ in range(rng.randrange(1, 400))))
    return fixed[:num]


def test_two_hundred_hostile_messages_do_not_stop_the_first_player(server):
    with server.connect() as player:
        before = player.frame()
        sent = 0
        messages = hostile_messages(23 * (MAX_FAULTS + 1))
        while sent < len(messages):
            with server.connect() as other, contextlib.suppress(ConnectionClosed):
                for message in messages[sent : sent + MAX_FAULTS + 1]:
                    other.socket.send(message)
                while True:
                    other.socket.recv(timeout=30)
            assert other.socket.protocol.close_code == 1008
            sent += MAX_FAULTS + 1
        after = [player.frame() for _ in range(3)]
        assert [h["t"] for h in after] == sorted({h["t"] for h in after}) and after[-1]["t"] > before["t"]
        player.say(do="act", axes=[0, 1], input=9)
        assert next(h for h in iter(player.frame, None) if h["input"])["input"] == 9
    assert server.process.poll() is None


def test_a_message_too_big_closes_only_its_own_connection(server):
    with server.connect() as player, server.connect() as other:
        other.socket.send("x" * 100_000)
        with contextlib.suppress(ConnectionClosed):
            while True:
                other.socket.recv(timeout=30)
        assert other.socket.protocol.close_code == 1009
        assert player.frame()["t"] >= 0


def test_bad_orders_of_the_player_are_answered_and_the_drive_goes_on(server):
    with server.connect() as page:
        page.frame()
        page.say(do="back", branch=77)
        assert "no branch 77" in page.notice("error")["text"]
        page.say(do="reset", variation={"gravity": "low"})
        assert "gravity" in page.notice("error")["text"]
        page.say(do="policy", name="nobody")
        assert "nobody" in page.notice("error")["text"]
        page.say(do="pause", paused=False)
        t = page.frame()["t"]
        assert next(h for h in iter(page.frame, None) if h["t"] > t)


def test_a_flood_of_a_hundred_connections_leaves_the_player_at_the_wheel(server):
    with server.connect() as player:
        player.frame()
        crowd = [server.connect(open_timeout=60) for _ in range(100)]
        turned_away = 0
        for page in crowd:
            try:
                page.socket.recv(timeout=30)
            except ConnectionClosed as closed:
                turned_away += closed.rcvd is not None and closed.rcvd.code == 1013
        assert turned_away == 100 - MAX_WAITING
        t = player.frame()["t"]
        assert next(h for h in iter(player.frame, None) if h["t"] > t)["t"] > t
        for page in crowd:
            page.socket.close()
    with server.connect() as late:
        assert late.frame()["t"] >= 0, "the crowd has made room"


def test_beyond_this_machine_a_token_is_asked_for(checkpoint, tmp_path):
    server = Server(checkpoint, tmp_path, "--host", "0.0.0.0")
    try:
        assert len(server.query) > 20
        assert server.get("/")[0] == 403
        assert server.get("/?token=guess")[0] == 403
        assert server.get(f"/?{server.query}")[0] == 200
        with pytest.raises(InvalidStatus):
            connect(f"ws://127.0.0.1:{server.port}/ws")
        with server.connect() as page:
            key = page.notice("hello")["key"]
            assert page.frame()["t"] >= 0
            assert server.get(f"/drive/{key}.gif")[0] == 404
        assert "Traceback" not in server.text()
    finally:
        code = server.stop()
    assert code == 130
