"""The server: one page drives, others wait, and nonsense does no harm."""

import contextlib
import io
import json
import random
import zipfile

import pytest
from PIL import Image
from servers import Server
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from worldsim.serve.player import MAX_FAULTS
from worldsim.serve.seat import MAX_WAITING
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
