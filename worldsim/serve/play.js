"use strict";
// The page holds no world: it says what is pressed, shows the newest frame, and says that it did.

(() => {
  const part = (name) => document.querySelector(name);
  const INPUT_MS = 20;
  const STRIP_STEPS = 200;
  const canvases = ["true", "imagined", "difference"].map((name) => part(`.${name} canvas`));
  const held = new Set(); // key codes and touch buttons that are down
  const controls = { axes: [], choices: [] };
  let hello = null;
  let socket = null;
  let now = null; // header of the frame on the screen
  let axes = [];
  let choices = [];
  let inputNumber = 0;
  let lastSent = "";
  let divergences = [];
  let presses = []; // keys that went down or up, until a frame knows of them: when, and the input that says so
  const frameTimes = [];
  // Figures for whoever measures the page.
  const measured = (window.worldsimPlayer = { frames: 0, lost: 0, reordered: 0, latencies: [], now: null });

  // ---- the connection

  function say(message) {
    if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  }

  function connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    socket = new WebSocket(`${scheme}://${location.host}/ws${location.search}`);
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => (typeof data === "string" ? heed(JSON.parse(data)) : show(data));
    socket.onclose = ({ code, reason }) => {
      now = measured.now = null;
      if (code === 1008) return status(`The player closed the connection: ${reason || "not allowed"}`, true);
      status(code === 1013 ? reason : "The player is gone; trying to reach it again …", true);
      setTimeout(connect, 1000);
    };
  }

  function status(text, isBad = false) {
    part(".status").textContent = text;
    part(".status").classList.toggle("bad", isBad);
  }

  function heed(notice) {
    if (notice.kind === "queue") {
      status(notice.ahead ? `Another page is driving; ${notice.ahead} in front of this one. It begins by itself.` : "");
    } else if (notice.kind === "hello") {
      greet(notice);
    } else if (notice.kind === "branches") {
      showBranches(notice.branches);
    } else if (notice.kind === "prompt") {
      part(".answer").textContent = notice.text;
    } else if (notice.kind === "error") {
      status(notice.text, true);
      if (notice.paused) part(".pause").textContent = "Go on";
    }
  }

  function greet(notice) {
    hello = notice;
    measured.key = notice.key;
    Object.assign(controls, notice.controls);
    axes = controls.axes.map(() => 0);
    choices = controls.choices.map(() => 0);
    inputNumber = 0;
    lastSent = "";
    presses = [];
    measured.frame = 0;
    for (const canvas of canvases) [canvas.width, canvas.height] = [notice.width, notice.height];
    status("");
    part(".unsure").hidden = notice.unsure === null;
    part(".limit").textContent = notice.unsure;
    showBranches([]);
    const options = notice.policies.map((name) => new Option(name, name));
    part(".policy").replaceChildren(new Option("you", ""), ...options);
    const selects = Object.entries(notice.factors).map(([name, values]) => {
      const label = document.createElement("label");
      const select = document.createElement("select");
      select.name = `factor:${name}`;
      select.append(new Option("any", ""), ...values.map((value) => new Option(value, value)));
      label.append(`${name.replaceAll("_", " ")} `, select);
      return label;
    });
    part(".factors").replaceChildren(...selects);
    for (const kind of ["gif", "mp4", "html", "zip"]) {
      part(`.downloads .${kind}`).href = `/drive/${notice.key}.${kind}${location.search}`;
    }
    part(".model-name").textContent = notice.model;
    part(".env-name").textContent = notice.env;
    part(".camera-choice").hidden = notice.cameras.length < 2;
    part(".camera").replaceChildren(...notice.cameras.map((name) => new Option(name, name)));
    part(".imagined-camera-choice").hidden = !notice.imagined_cameras.length;
    part(".imagined-camera").replaceChildren(...notice.imagined_cameras.map((name) => new Option(name, name)));
    part(".imagined-camera").disabled = notice.imagined_cameras.length < 2;
    part(".imagined .from").textContent = notice.cameras.length ? notice.imagined_cameras.join(", ") : "";
    showGallery(notice.env);
    buildPad();
    part(".keys").textContent = controls.axes
      .filter((axis) => axis.low.length)
      .map((axis) => `${axis.low.map(keyName).join(" or ")} and ${axis.high.map(keyName).join(" or ")} ${axis.name}; `)
      .join("");
  }

  let galleryOf = ""; // the world that the gallery shows

  async function showGallery(world) {
    if (world === galleryOf) return;
    galleryOf = world;
    const answer = await fetch(`/gallery${location.search}`).catch(() => null);
    if (!answer || !answer.ok) {
      galleryOf = ""; // asked for again with the next greeting
      return;
    }
    const { worlds, scenes } = await answer.json();
    const card = ({ title, picture }, what, does) => {
      const made = button("", does, what);
      const image = document.createElement("img");
      [image.src, image.alt] = [picture, ""];
      made.append(image, title);
      return made;
    };
    const others = worlds.filter(({ model }) => model !== hello.model);
    part(".gallery").replaceChildren(
      ...others.map((one) => card({ ...one, title: `${one.model}: ${one.title}` }, "world", () => say({ do: "world", model: one.model }))),
      ...scenes.map((one) => card(one, "scene", () => say({ do: "reset", variation: one.variation }))),
    );
    part(".gallery").hidden = !others.length && !scenes.length;
  }

  function keyName(code) {
    return { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" }[code] || code.replace("Key", "");
  }

  // ---- what is shown

  async function show(data) {
    const view = new DataView(data);
    const length = view.getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    let at = 4 + length;
    const pictures = header.sizes.map((size) => {
      const blob = new Blob([new Uint8Array(data, at, size)], { type: "image/jpeg" });
      at += size;
      return createImageBitmap(blob);
    });
    const [imagined, truth] = await Promise.all(pictures);
    canvases[0].getContext("2d", { willReadFrequently: true }).drawImage(truth, 0, 0);
    canvases[1].getContext("2d", { willReadFrequently: true }).drawImage(imagined, 0, 0);
    showDifference();
    say({ do: "seen", frame: header.frame });
    measure(header);
    showHeader(header);
  }

  function showDifference() {
    const { width, height } = canvases[0];
    const [a, b] = canvases.slice(0, 2).map((canvas) => canvas.getContext("2d").getImageData(0, 0, width, height).data);
    const context = canvases[2].getContext("2d");
    const out = context.createImageData(width, height);
    for (let i = 0; i < out.data.length; i++) out.data[i] = i % 4 === 3 ? 255 : 2 * Math.abs(a[i] - b[i]);
    context.putImageData(out, 0, 0);
  }

  function measure(header) {
    const time = performance.now();
    measured.frames += 1;
    if (header.frame <= measured.frame) measured.reordered += 1;
    if (header.frame > measured.frame + 1) measured.lost += header.frame - measured.frame - 1;
    measured.frame = header.frame;
    if (header.policy) presses = [];
    while (presses.length && presses[0].input !== null && presses[0].input <= header.input) {
      measured.latencies.push(time - presses.shift().at);
      if (measured.latencies.length > 1000) measured.latencies.shift();
    }
    frameTimes.push(time);
    while (frameTimes.length > 2 && frameTimes[0] < time - 2000) frameTimes.shift();
  }

  function showHeader(header) {
    const isBehind = now === null || header.t <= now.t;
    now = measured.now = header;
    if (isBehind) divergences = divergences.filter(([t]) => t < header.t);
    if (header.t === 0) divergences = [];
    if (header.divergence !== null) divergences.push([header.t, header.divergence, header.uncertainty]);
    divergences = divergences.slice(-STRIP_STEPS);
    showStrip();
    const text = (name, value) => (part(name).textContent = value);
    text(".divergence", header.divergence === null ? "–" : `${(100 * header.divergence).toFixed(1)}%`);
    text(".uncertainty", header.uncertainty === null ? "–" : header.uncertainty.toFixed(2));
    part(".imagined").classList.toggle("doubtful", header.uncertainty !== null && header.uncertainty > hello.unsure);
    text(".t", `${header.t} of ${header.horizon} · ${(header.t * hello.control_dt).toFixed(1)} s`);
    const span = frameTimes[frameTimes.length - 1] - frameTimes[0];
    text(".fps", header.paused || span === 0 ? "–" : ((1000 * (frameTimes.length - 1)) / span).toFixed(1));
    text(".model-ms", `${header.model_ms} ms`);
    text(".round-trip", header.round_trip_ms === null ? "–" : `${header.round_trip_ms} ms`);
    const recent = measured.latencies.slice(-100).sort((a, b) => a - b);
    text(".latency", recent.length ? `${recent[recent.length >> 1].toFixed(0)} ms` : "–");
    text(".late", `${header.late} of ${header.steps}`);
    text(".true-reward", header.true_reward.toFixed(2));
    text(".imagined-reward", header.imagined_reward.toFixed(2));
    text(".true .end", header.true_end);
    text(".imagined .end", header.imagined_end);
    part(".true").classList.toggle("over", header.true_end !== "");
    part(".imagined").classList.toggle("over", header.imagined_end !== "");
    text(".player .caption", header.caption ? header.caption.join(" / ") : "");
    text(".pause", header.paused ? "Go on" : "Pause");
    part(".policy").value = header.policy || "";
    const from = header.camera || hello.cameras[0] || "";
    part(".true .from").textContent = from;
    part(".camera").value = from;
    part(".difference").classList.toggle("meaningless", header.camera !== "" && header.camera !== hello.cameras[0]);
    part(".real-time").checked = header.real_time;
    for (const [name, value] of [[".sampler", header.sampler_steps], [".guidance", header.guidance], [".horizon", header.horizon]]) {
      if (document.activeElement !== part(name)) part(name).value = value;
      part(name).nextElementSibling.textContent = value;
    }
    if (header.imagined_end && header.true_end) status("Both episodes have ended: R begins another, Z goes back.");
    else if (!part(".status").classList.contains("bad") || !header.paused) status(header.paused ? "Paused" : "");
  }

  function showStrip() {
    const strip = part(".strip");
    const context = strip.getContext("2d");
    context.clearRect(0, 0, strip.width, strip.height);
    const top = Math.max(0.1, ...divergences.map(([, value]) => value));
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--model");
    const wide = strip.width / STRIP_STEPS;
    divergences.forEach(([, value], i) => {
      const high = (value / top) * strip.height;
      context.fillRect(i * wide, strip.height - high, Math.max(wide - 1, 1), high);
    });
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--warn");
    divergences.forEach(([, , uncertainty], i) => {
      if (uncertainty !== null) context.fillRect(i * wide, (1 - uncertainty) * (strip.height - 3), wide, 3);
    });
  }

  const thumbnails = new Map();

  function showBranches(branches) {
    const film = part(".film");
    for (const { number } of branches) {
      if (thumbnails.has(number)) continue;
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [canvases[1].width, canvases[1].height];
      canvas.getContext("2d").drawImage(canvases[1], 0, 0);
      thumbnails.set(number, canvas);
    }
    const alive = new Set(branches.map(({ number }) => number));
    for (const number of thumbnails.keys()) if (!alive.has(number)) thumbnails.delete(number);
    if (!branches.length) {
      const hint = document.createElement("p");
      hint.className = "soft";
      hint.textContent = "None yet: B keeps this moment, and a click comes back to it.";
      film.replaceChildren(hint);
      return;
    }
    film.replaceChildren(
      ...branches.map(({ number, t }) => {
        const figure = document.createElement("figure");
        const go = button("", () => say({ do: "back", branch: number }), "go");
        go.title = `Back to step ${t}`;
        go.setAttribute("aria-label", go.title);
        go.append(thumbnails.get(number));
        const drop = button("×", () => say({ do: "drop", branch: number }), "drop");
        drop.setAttribute("aria-label", `Forget step ${t}`);
        figure.append(go, `step ${t}`, drop);
        return figure;
      }),
    );
  }

  function button(text, does, className) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.className = className;
    if (does) made.addEventListener("click", does);
    return made;
  }

  // ---- what is pressed

  function buildPad() {
    const buttons = [];
    controls.axes.forEach((axis, i) => {
      for (const [end, keys] of [["low", axis.low], ["high", axis.high]]) {
        if (!keys.length) continue;
        const made = button(keyName(keys[0]), null, "hold");
        made.setAttribute("aria-label", `${axis.name} ${end}`);
        const name = `touch:${i}:${end}`;
        const set = (isDown) => (event) => {
          event.preventDefault();
          if (isDown) held.add(name);
          else held.delete(name);
          made.classList.toggle("held", isDown);
        };
        made.addEventListener("pointerdown", set(true));
        for (const type of ["pointerup", "pointercancel", "pointerleave"]) made.addEventListener(type, set(false));
        buttons.push(made);
      }
    });
    controls.choices.forEach((count, i) => {
      for (let choice = 0; choice < count; choice++) {
        buttons.push(button(controls.choices.length > 1 ? `${i}: ${choice}` : `${choice}`, () => (choices[i] = choice), ""));
      }
    });
    part(".pad").replaceChildren(...buttons.sort((a, b) => padPlace(a) - padPlace(b)));
  }

  // Left before right and down before up, whichever end of its axis that is.
  function padPlace(made) {
    return ["←", "→", "↓", "↑"].indexOf(made.textContent) + 1 || 9;
  }

  function stick(i) {
    const pad = navigator.getGamepads ? [...navigator.getGamepads()].find((one) => one) : null;
    if (!pad) return 0;
    if (i === 1) {
      const pull = (pad.buttons[7] ? pad.buttons[7].value : 0) - (pad.buttons[6] ? pad.buttons[6].value : 0);
      return Math.abs(pull) > 0.05 ? pull : Math.abs(pad.axes[3] || 0) > 0.15 ? -pad.axes[3] : 0;
    }
    const value = pad.axes[[0, 1, 2, 3][i]] || 0;
    const isMirrored = controls.axes[i].low.includes("ArrowRight");
    return Math.abs(value) > 0.1 ? (isMirrored ? -value : value) : 0;
  }

  function sendInput() {
    if (!now) return;
    const fully = held.has("ShiftLeft") || held.has("ShiftRight");
    axes = axes.map((value, i) => {
      const axis = controls.axes[i];
      const isDown = (end) => axis[end].some((code) => held.has(code)) || held.has(`touch:${i}:${end}`);
      const push = (isDown("high") ? 1 : 0) - (isDown("low") ? 1 : 0);
      const target = push ? push * (fully ? 1 : axis.reach) : stick(i);
      const most = axis.rate * (INPUT_MS / 1000) * (target === 0 ? 2 : 1);
      return Math.abs(target - value) <= most ? target : value + Math.sign(target - value) * most;
    });
    const body = { axes: axes.map((value) => Math.round(1000 * value) / 1000), choices };
    const text = JSON.stringify(body);
    if (text === lastSent) {
      presses = presses.filter((press) => press.input !== null); // they changed nothing
      return;
    }
    lastSent = text;
    inputNumber += 1;
    for (const press of presses) press.input ??= inputNumber;
    say({ do: "act", ...body, input: inputNumber });
  }

  const orders = {
    " ": () => say({ do: "pause", paused: !(now && now.paused) }),
    ".": () => say({ do: "step" }),
    z: () => say({ do: "rewind", steps: Math.max(1, Math.round(1 / hello.control_dt)) }),
    r: () => say({ do: "reset" }),
    b: () => say({ do: "branch" }),
    n: () => thumbnails.size && say({ do: "back", branch: [...thumbnails.keys()].pop() }),
    m: () => {
      const names = [...part(".policy").options].map((option) => option.value).filter(Boolean);
      say({ do: "policy", name: now && now.policy ? null : names.includes("lane_follower") ? "lane_follower" : names[0] });
    },
    p: () => part(".prompt input").focus(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") document.activeElement.blur();
    if (!hello || event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " " && event.target.matches("button, a")) return;
    const isControl = controls.axes.some((axis) => axis.low.includes(event.code) || axis.high.includes(event.code));
    const does = isControl ? null : orders[event.key.toLowerCase()];
    if (isControl || does) event.preventDefault();
    held.add(event.code);
    if (isControl && !event.repeat) presses.push({ at: performance.now(), input: null });
    if (does && !event.repeat) does();
    if (!isControl && /^[0-9]$/.test(event.key) && Number(event.key) < (controls.choices[0] || 0)) choices[0] = Number(event.key);
  });
  document.addEventListener("keyup", (event) => held.delete(event.code));
  window.addEventListener("blur", () => held.clear());
  document.addEventListener("visibilitychange", () => {
    held.clear();
    if (document.hidden) say({ do: "pause", paused: true });
  });

  part(".pause").addEventListener("click", orders[" "]);
  part(".step").addEventListener("click", orders["."]);
  part(".rewind").addEventListener("click", orders.z);
  part(".reset").addEventListener("click", orders.r);
  part(".branch").addEventListener("click", orders.b);
  part(".policy").addEventListener("change", ({ target }) => {
    say({ do: "policy", name: target.value || null });
    target.blur();
  });
  part(".camera").addEventListener("change", ({ target }) => {
    say({ do: "camera", name: target.value });
    target.blur();
  });
  part(".guidance").addEventListener("change", ({ target }) => say({ do: "guidance", value: Number(target.value) }));
  part(".sampler").addEventListener("change", ({ target }) => say({ do: "sampler", steps: Number(target.value) }));
  part(".horizon").addEventListener("change", ({ target }) => say({ do: "horizon", steps: Number(target.value) }));
  part(".real-time").addEventListener("change", ({ target }) => say({ do: "pace", real_time: target.checked }));
  part(".prompt").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = event.target.elements.prompt.value.trim();
    if (text) say({ do: "prompt", text });
    document.activeElement.blur(); // the keys drive again
  });
  part(".start").addEventListener("submit", (event) => {
    event.preventDefault();
    const variation = {};
    let seed = null;
    let prompt = "";
    for (const [name, value] of new FormData(event.target)) {
      if (name === "seed" && value !== "") seed = Number(value);
      else if (name === "prompt") prompt = value.trim();
      else if (name.startsWith("factor:") && value !== "") variation[name.slice(7)] = value;
    }
    say({ do: "reset", seed, prompt, variation });
    document.activeElement.blur();
  });

  setInterval(sendInput, INPUT_MS);
  connect();
})();
