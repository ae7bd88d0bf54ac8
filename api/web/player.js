// The sound of a transcript: play, seek, speed, by mouse and by keyboard.

import { h, set } from "./dom.js";
import { clock, t } from "./texts.js";

const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2, 3];

/** Plays one recording; `element` is its bar, `moved` is called with the time, in seconds, while it plays. */
export class Player {
  /**
   * @param {string} source address of the recording
   * @param {number} duration of the recording, seconds
   * @param {(seconds: number) => void} moved
   */
  constructor(source, duration, moved) {
    this.duration = duration;
    this.moved = moved;
    this.frame = 0;
    this.audio = h("audio", { src: source, preload: "metadata" });
    this.button = h("button", { class: "play", type: "button", on: { click: () => this.toggle() } });
    this.slider = h("input", {
      type: "range",
      min: 0,
      max: Math.ceil(duration * 10) / 10,
      step: 0.1,
      value: 0,
      class: "seek",
      "aria-label": t("position"),
      on: { input: () => this.seek(Number(this.slider.value)) },
    });
    this.time = h("output", { class: "time" });
    const speed = h(
      "select",
      {
        "aria-label": t("speed"),
        on: {
          change: () => {
            this.audio.playbackRate = Number(speed.value);
          },
        },
      },
      ...SPEEDS.map((rate) => h("option", { value: rate, selected: rate === 1 }, `${rate}×`)),
    );
    this.trouble = h("span", { class: "trouble", role: "status" });
    this.element = h(
      "div",
      { class: "player", role: "group", "aria-label": t("player") },
      this.button,
      this.slider,
      this.time,
      speed,
      this.trouble,
    );
    for (const event of ["play", "pause", "ended"]) this.audio.addEventListener(event, () => this.show());
    for (const event of ["seeked", "timeupdate"]) this.audio.addEventListener(event, () => this.tell());
    this.audio.addEventListener("error", () => {
      this.trouble.replaceChildren(t("unplayable"), " ", h("a", { href: source, download: true }, t("recording")));
    });
    this.show();
    this.tell();
  }

  /** Show whether it plays; while it does, tell the time at every picture. */
  show() {
    const { paused } = this.audio;
    this.button.textContent = paused ? "▶" : "❚❚";
    set(this.button, { "aria-label": t(paused ? "play" : "pause") });
    cancelAnimationFrame(this.frame);
    if (!paused) {
      const tick = () => {
        this.moved(this.audio.currentTime);
        this.frame = requestAnimationFrame(tick);
      };
      tick();
    }
  }

  /** Show the time. */
  tell() {
    const { currentTime } = this.audio;
    this.slider.value = String(currentTime);
    set(this.slider, { "aria-valuetext": clock(currentTime) });
    this.time.textContent = `${clock(currentTime)} / ${clock(this.duration)}`;
    this.moved(currentTime);
  }

  toggle() {
    if (this.audio.paused) this.play();
    else this.audio.pause();
  }

  play() {
    this.audio.play().catch(() => {}); // `error` has said why
  }

  /**
   * Go to a time.
   * @param {number} seconds
   * @param {boolean} [play] and play from there
   */
  seek(seconds, play = false) {
    this.audio.currentTime = Math.min(Math.max(seconds, 0), this.duration);
    this.tell();
    if (play) this.play();
  }

  /**
   * Do what a key asks for: space and K play, J and L go 10 s, arrows 5 s.
   * @param {string} key
   * @returns {boolean} whether it was one of these
   */
  press(key) {
    const steps = /** @type {Record<string, number>} */ ({ j: -10, l: 10, ArrowLeft: -5, ArrowRight: 5 });
    if (key === " " || key === "k") this.toggle();
    else if (key in steps) this.seek(this.audio.currentTime + steps[key]);
    else return false;
    return true;
  }

  close() {
    cancelAnimationFrame(this.frame);
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.audio.load(); // which ends its request
  }
}
