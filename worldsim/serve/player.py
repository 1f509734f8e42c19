"""One page's connection: it reads what the page says, drives both worlds at their pace, and shows the newest moment.

Three loops that never wait for each other. The worlds go on in real time whatever the network does; a page that is slow
to say that it has shown a frame skips frames, and one that stays silent is paused.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from fastapi import WebSocket, WebSocketDisconnect

from worldsim.errors import EnvError, WorldsimError
from worldsim.serve import messages
from worldsim.serve.controls import controls_of, to_action
from worldsim.serve.drive import Drive, Moment
from worldsim.serve.messages import MAX_BYTES, Message, frame_bytes, read_message
from worldsim.serve.watch import UNSURE
from worldsim.serve.worlds import Pair, Worlds

__all__ = ["Player", "Refused"]

Result = TypeVar("Result")

MAX_COMMANDS = 32
"""Orders that may wait; more are refused."""
MAX_FAULTS = 8
"""Bad messages before the connection is closed."""
MAX_RATE = 300
"""Messages in a second before the connection is closed."""
SILENCE_S = 3.0
"""A page that has not said for so long that it has shown a frame is paused."""


class Refused(Exception):
    """The connection is closed, with a WebSocket code and a reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


@dataclass
class Player:
    """A page that drives.

    Args:
        socket: An accepted connection.
        worlds: What may be driven; its pair is only touched through ``work``.
        work: Runs a function where the worlds live, and awaits its result.
        seed: Env seed of the first drive.
        key: Names the drive in download addresses; nobody else knows it.
        real_time: Whether the worlds keep their own time, else they go as fast as they can.
    """

    socket: WebSocket
    worlds: Worlds
    work: Callable[..., Awaitable[Any]]
    seed: int
    key: str
    real_time: bool = True

    drive: Drive = field(init=False)
    """Since this page is at the wheel, which is when it is told its key."""
    paused: bool = False
    policy: str | None = None
    _notices: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=64))
    _commands: deque[Message] = field(default_factory=deque)
    _act: messages.Act | None = None
    _frame: bytes = b""
    _frame_number: int = 0
    _sent: int = 0
    _seen: int = 0
    _sent_at: float = 0.0
    _round_trip_s: float | None = None
    _num_faults: int = 0
    _arrivals: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_RATE))
    _num_steps: int = 0
    _num_late: int = 0
    _work_wakes: asyncio.Event = field(default_factory=asyncio.Event)
    _send_wakes: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, **notice: Any) -> None:
        """Queue a notice for the page; the oldest is dropped if the page does not listen."""
        self._notices.append(notice)
        self._send_wakes.set()

    async def read(self) -> None:
        """Take in what the page says until it leaves.

        Raises:
            Refused: If it says too much or too much nonsense.
            WebSocketDisconnect: When it leaves.
        """
        while True:
            event = await self.socket.receive()
            if event["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(event.get("code", 1000))
            now = time.monotonic()
            if len(self._arrivals) == MAX_RATE and now - self._arrivals[0] < 1:
                raise Refused(1008, f"more than {MAX_RATE} messages in a second")
            self._arrivals.append(now)
            try:
                self._take(event.get("text"))
            except WorldsimError as error:
                self._num_faults += 1
                if self._num_faults > MAX_FAULTS:
                    raise Refused(1008, "too many messages that this player does not know") from None
                self.tell(kind="error", text=str(error))

    async def send(self) -> None:
        """Send notices at once, and the newest frame whenever the page has shown the last one."""
        while True:
            await self._send_wakes.wait()
            self._send_wakes.clear()
            while self._notices:
                await self.socket.send_json(self._notices.popleft())
            if self._frame_number > self._sent and self._seen == self._sent:
                self._sent, self._sent_at = self._frame_number, time.monotonic()
                await self.socket.send_bytes(self._frame)

    async def play(self) -> None:
        """Drive until cancelled."""
        self._board(await self.work(lambda: self.worlds.pair))  # the page before may have left while a world loads
        self._commands.clear()  # whatever was asked for while others drove
        self._commands.append(messages.Reset(do="reset"))
        due = time.monotonic()
        while True:
            if self._commands:
                await self._obey(self._commands.popleft())
                due = time.monotonic()
                continue
            if self.paused or self._is_silent():
                await self._pause_until_woken()
                due = time.monotonic()
                continue
            wait = due - time.monotonic()
            if self.real_time and wait > 0:
                await _wait(self._work_wakes, wait, lambda: bool(self._commands))
                if self._commands:
                    continue
            begun = time.monotonic()
            control_dt = self.drive.truth.facts.control_dt
            due = begun + control_dt if begun - due > control_dt else due + control_dt
            await self._step()
            self._num_steps += 1
            self._num_late += time.monotonic() > due
            if not self.real_time:
                await asyncio.sleep(0)

    def _take(self, text: str | None) -> None:
        if text is None or len(text) > MAX_BYTES:
            raise EnvError(f"a message is a text of at most {MAX_BYTES} bytes")
        message = read_message(text)
        if isinstance(message, messages.Act):
            to_action(self.worlds.pair.env.action_space, message.axes, message.choices)  # raises if it does not fit
            self._act = message
        elif isinstance(message, messages.Seen):
            if message.frame == self._sent and self._seen < self._sent:
                self._seen = message.frame
                self._round_trip_s = time.monotonic() - self._sent_at
                self._send_wakes.set()
        elif len(self._commands) >= MAX_COMMANDS:
            raise EnvError(f"{MAX_COMMANDS} orders are waiting already; this one is dropped")
        else:
            self._commands.append(message)
        self._work_wakes.set()

    def _is_silent(self) -> bool:
        return self._seen < self._sent and time.monotonic() - self._sent_at > SILENCE_S

    async def _pause_until_woken(self) -> None:
        self._work_wakes.clear()
        if not self._commands:
            await self._work_wakes.wait()

    async def _step(self) -> None:
        act, policy, space = self._act, self.policy, self.drive.env.action_space
        controls = controls_of(space)
        axes = act.axes if act else [0.0] * len(controls["axes"])
        choices = act.choices if act else [0] * len(controls["choices"])

        def step() -> Moment:
            if policy is not None:
                return self.drive.step(self.drive.act(policy))
            return self.drive.step(to_action(space, axes, choices))

        await self._attempt(step, input_number=act.input if act and policy is None else 0)

    async def _obey(self, order: Message) -> None:
        drive = self.drive
        if isinstance(order, messages.Pause):
            self.paused = order.paused
            await self._attempt(lambda: drive.now)
        elif isinstance(order, messages.Step):
            self.paused = True
            await self._step()
        elif isinstance(order, messages.Rewind):
            await self._attempt(lambda: drive.rewind(order.steps))
        elif isinstance(order, messages.Reset):
            seed = self.seed if order.seed is None else order.seed
            self.seed, self.policy, self.paused = (seed + 1) % 2**31, None, False
            await self._attempt(lambda: drive.reset(seed, order.prompt, order.variation))
        elif isinstance(order, messages.Branch):
            await self._attempt(drive.branch, shows=False)
            self._tell_branches()
        elif isinstance(order, messages.BackTo):
            self.paused = True
            await self._attempt(lambda: drive.go_back_to(order.branch))
        elif isinstance(order, messages.Drop):
            await self._attempt(lambda: drive.drop(order.branch), shows=False)
            self._tell_branches()
        elif isinstance(order, messages.Prompt):
            unknown = await self._attempt(lambda: drive.set_prompt(order.text), shows=False)
            if unknown is not None:
                text = f"not understood: {', '.join(unknown)}" if unknown else "understood"
                self.tell(kind="prompt", text=text, prompt=order.text)
                await self._attempt(lambda: drive.now)
        elif isinstance(order, messages.Policy):
            if order.name is not None and order.name not in drive.truth.facts.policies:
                self.tell(kind="error", text=f"there is no policy {order.name!r}")
                return
            self.policy = order.name
            await self._attempt(lambda: drive.now)
        elif isinstance(order, messages.Camera):
            await self._attempt(lambda: drive.look_from(order.name))
        elif isinstance(order, messages.Guidance):
            drive.env.guidance = order.value
            await self._attempt(lambda: drive.now)
        elif isinstance(order, messages.World):
            pair = await self._attempt(lambda: self.worlds.go_to(order.model), shows=False)
            if pair is not None:
                self._board(pair)
                self._commands.appendleft(messages.Reset(do="reset"))
        elif isinstance(order, messages.Sampler):
            drive.env.sampler_steps = order.steps
            await self._attempt(lambda: drive.now)
        elif isinstance(order, messages.Horizon):
            drive.env.horizon = order.steps
            await self._attempt(lambda: drive.now)
        elif isinstance(order, messages.Pace):
            self.real_time = order.real_time
            await self._attempt(lambda: drive.now)

    def _board(self, pair: Pair) -> None:
        """Begin to drive a pair of worlds, and greet the page with what it needs to know."""
        pair.env.guidance = 1.0
        self.drive = Drive(env=pair.env, truth=pair.truth, watch=pair.watch)
        self.policy, self._act = None, None
        facts, model = pair.truth.facts, pair.env.model
        imagined_from = model.spec.env_kwargs.get("cameras") or facts.cameras[:1]
        self.tell(
            kind="hello",
            model=model.name,
            env=facts.env_id,
            height=model.spec.height,
            width=model.spec.width,
            control_dt=facts.control_dt,
            controls=controls_of(pair.env.action_space, pair.env.action_spec),
            policies=list(facts.policies),
            factors={name: list(values) for name, values in facts.factors.items()},
            cameras=list(facts.cameras),
            imagined_cameras=list(imagined_from),
            key=self.key,
            unsure=None if pair.watch is None else UNSURE,
        )

    def _tell_branches(self) -> None:
        branches = [{"number": b.number, "t": b.t} for b in self.drive.branches.values()]
        self.tell(kind="branches", branches=branches)

    async def _attempt(self, call: Callable[[], Result], *, shows: bool = True, input_number: int = 0) -> Result | None:
        """Run a call where the worlds live; show the moment it returns, or say what went wrong and pause."""
        try:
            if not shows:
                return await self.work(call)

            def call_and_encode() -> tuple[Result, bytes]:
                moment: Any = call()
                self.paused = self.paused or moment.is_over
                header = self._header(moment, input_number)
                shown = moment.true.frame if moment.true.view is None else moment.true.view
                return moment, frame_bytes(header, moment.imagined, shown)

            moment, self._frame = await self.work(call_and_encode)
        except WorldsimError as error:
            self.paused, self.policy = True, None
            self.tell(kind="error", text=str(error), paused=True)
            return None
        self._frame_number += 1
        self._send_wakes.set()
        return moment

    def _header(self, moment: Moment, input_number: int) -> dict[str, Any]:
        env = self.drive.env
        return {
            "frame": self._frame_number + 1,
            "input": input_number,
            "t": moment.t,
            "seed": self.drive.seed,
            "paused": self.paused,
            "policy": self.policy,
            "prompt": moment.prompt,
            "caption": moment.true.caption,
            "action": None if moment.action is None else np.asarray(moment.action, float).ravel().round(3).tolist(),
            "imagined_end": moment.imagined_end,
            "true_end": moment.true.end,
            "divergence": moment.divergence,
            "uncertainty": None if self.drive.watch is None else self.drive.watch.at(moment.t),
            "imagined_reward": sum(m.imagined_reward for m in self.drive.moments),
            "true_reward": sum(m.true.reward for m in self.drive.moments if m.true_t == m.t),
            "model_ms": round(1000 * moment.model_s, 1),
            "round_trip_ms": None if self._round_trip_s is None else round(1000 * self._round_trip_s, 1),
            "steps": self._num_steps,
            "late": self._num_late,
            "sampler_steps": env.sampler_steps or env.model.config.sampler_steps,
            "guidance": env.guidance,
            "camera": self.drive.camera,
            "horizon": env.horizon,
            "real_time": self.real_time,
        }


async def _wait(event: asyncio.Event, seconds: float, is_needed: Callable[[], bool]) -> None:
    """Wait for some time, or until an event says that something is needed."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not is_needed():
        event.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left):  # wait_for would swallow a cancellation now and then
                await event.wait()
