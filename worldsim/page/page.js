"use strict";
// One step for the whole page: the player sets it, canvases and charts follow.

(() => {
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  function markCharts(step) {
    for (const chart of document.querySelectorAll(".chart")) {
      const { left, right, steps } = chart.dataset;
      const share = (step - 1) / Math.max(steps - 1, 1);
      const cursor = chart.querySelector(".cursor");
      const x = Number(left) + share * (right - left);
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      cursor.style.visibility = step >= 1 && step <= steps ? "visible" : "hidden";
      for (const item of chart.querySelectorAll("li")) {
        const value = JSON.parse(item.dataset.values)[step - 1];
        item.querySelector("b").textContent = value === undefined || value === null ? "" : value.toPrecision(3);
      }
    }
  }

  class Player {
    constructor(root) {
      this.root = root;
      this.data = JSON.parse(root.querySelector(".data").textContent);
      this.part = (name) => root.querySelector(name);
      this.canvases = [...root.querySelectorAll("canvas")];
      this.cache = new Map();
      this.timer = null;
      this.step = this.data.firstStep;
      this.part(".slider").addEventListener("input", (event) => this.show(Number(event.target.value)));
      this.part(".play").addEventListener("click", () => this.toggle());
      this.part(".back").addEventListener("click", () => this.walk(-1));
      this.part(".forward").addEventListener("click", () => this.walk(1));
      this.part(".scene").addEventListener("change", (event) => this.open(Number(event.target.value)));
      this.part(".speed").addEventListener("change", () => this.timer !== null && this.play());
      this.buildActions();
      this.open(0);
    }

    buildActions() {
      this.bars = this.data.actionNames.map((name) => {
        const row = document.createElement("div");
        row.className = "action";
        const label = document.createElement("span");
        label.textContent = name;
        const track = document.createElement("div");
        const fill = document.createElement("i");
        const value = document.createElement("b");
        track.append(fill);
        row.append(label, track, value);
        this.part(".actions").append(row);
        return { fill, value };
      });
    }

    sheets(index) {
      if (!this.cache.has(index)) {
        const load = async (source) => {
          const image = new Image();
          image.src = source;
          await image.decode();
          return image;
        };
        this.cache.set(index, Promise.all(this.data.scenes[index].sheets.map(load)));
      }
      return this.cache.get(index);
    }

    async open(index) {
      this.index = index;
      this.part(".scene").value = index;
      const images = await this.sheets(index);
      if (this.index !== index) return; // another clip was chosen while this one was decoded
      this.scene = this.data.scenes[index]; // until now the clip before it is played on
      this.images = images;
      for (const canvas of this.canvases) {
        canvas.width = this.scene.width;
        canvas.height = this.scene.height;
      }
      this.part(".slider").max = this.scene.numFrames - 1;
      this.show(Math.min(this.step, this.scene.numFrames - 1));
    }

    show(step) {
      if (!this.scene) {
        this.step = clamp(step, 0, this.data.scenes[this.index].numFrames - 1); // shown when the first clip is decoded
        return;
      }
      this.step = clamp(step, 0, this.scene.numFrames - 1);
      const { width, height, columns } = this.scene;
      const x = (this.step % columns) * width;
      const y = Math.floor(this.step / columns) * height;
      const contexts = this.canvases.map((canvas) => canvas.getContext("2d", { willReadFrequently: true }));
      this.images.forEach((image, i) => contexts[i].drawImage(image, x, y, width, height, 0, 0, width, height));
      if (this.data.difference) {
        const [a, b] = this.data.difference.map((i) => contexts[i].getImageData(0, 0, width, height).data);
        const out = contexts[this.images.length].createImageData(width, height);
        for (let i = 0; i < out.data.length; i++) {
          out.data[i] = i % 4 === 3 ? 255 : this.data.gain * Math.abs(a[i] - b[i]);
        }
        contexts[this.images.length].putImageData(out, 0, 0);
      }
      this.part(".slider").value = this.step;
      const seconds = (this.step * this.data.frameSeconds).toFixed(1);
      const start = this.step === 0 ? " (the start)" : "";
      this.part(".clock").textContent = `step ${this.step} of ${this.scene.numFrames - 1} · ${seconds} s${start}`;
      this.showNow();
      markCharts(this.step);
    }

    showNow() {
      const action = this.scene.actions && this.step > 0 ? [this.scene.actions[this.step - 1]].flat() : [];
      this.bars.forEach(({ fill, value }, i) => {
        const number = action[i];
        value.textContent = number === undefined ? "–" : Number.isInteger(number) ? `${number}` : number.toFixed(2);
        const share = clamp(number === undefined ? 0 : number, -1, 1) * 50;
        fill.style.left = `${share < 0 ? 50 + share : 50}%`;
        fill.style.width = `${Math.abs(share)}%`;
      });
      const spoken = this.scene.captions.filter(([step]) => step <= this.step);
      this.part(".caption").textContent = spoken.length ? spoken[spoken.length - 1][1] : "";
    }

    walk(by) {
      this.pause();
      this.show(this.step + by);
    }

    toggle() {
      if (this.timer === null) this.play();
      else this.pause();
    }

    play() {
      this.pause();
      const speed = Number(this.part(".speed").value);
      const advance = () => this.show(this.scene && this.step >= this.scene.numFrames - 1 ? 0 : this.step + 1);
      this.timer = setInterval(advance, (1000 * this.data.frameSeconds) / speed);
      this.part(".play").textContent = "Pause";
    }

    pause() {
      clearInterval(this.timer);
      this.timer = null;
      this.part(".play").textContent = "Play";
    }

    key(event) {
      const last = this.data.scenes.length - 1;
      const does = {
        " ": () => this.toggle(),
        ArrowLeft: () => this.walk(-1),
        ArrowRight: () => this.walk(1),
        ArrowUp: () => this.open(clamp(this.index - 1, 0, last)),
        ArrowDown: () => this.open(clamp(this.index + 1, 0, last)),
        Home: () => this.walk(-Infinity),
        End: () => this.walk(Infinity),
      }[event.key];
      if (does) {
        event.preventDefault();
        does();
      }
    }
  }

  const players = [...document.querySelectorAll(".player")].map((root) => new Player(root));
  document.addEventListener("keydown", (event) => {
    const usesKeys = event.target.matches("input, select, textarea") || (event.key === " " && event.target.matches("button, summary"));
    if (!players.length || usesKeys || event.ctrlKey || event.metaKey || event.altKey) return;
    players[0].key(event);
  });
})();
