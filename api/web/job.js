// One recording: its text as it comes, then its transcript with its sound.

import { ask, explain, ofJob, statusOf } from "./api.js";
import { fill, h } from "./dom.js";
import { isActive, state } from "./library.js";
import { Player } from "./player.js";
import { Reader } from "./reader.js";
import { clock, date, languageName, number, share, t } from "./texts.js";

/** @typedef {import("./types.js").Job} Job */
/** @typedef {import("./types.js").Transcript} Transcript */

const FORMATS = { txt: "text", srt: "srt", vtt: "vtt", tsv: "tsv", json: "json" };
/** Sentences of less confidence are places to check; as many are shown. */
const UNSURE = 0.6;
const MOST_UNSURE = 100;
/** An estimate is worth showing once so much is done. */
const ESTIMATE_FROM = 0.05;

/** The view of a job. */
export class JobPage {
  /**
   * @param {string} id
   * @param {number | null} at seconds to begin at
   */
  constructor(id, at) {
    this.id = id;
    this.at = at;
    /** @type {Reader | undefined} */
    this.reader = undefined;
    /** @type {Player | undefined} */
    this.player = undefined;
    this.title = h("h1");
    this.facts = h("p", { class: "facts" });
    this.actions = h("div", { class: "actions" });
    this.body = h("div", { class: "body" });
    this.element = h(
      "section",
      { class: "job" },
      h("a", { class: "back", href: "#/" }, `← ${t("library")}`),
      this.title,
      this.facts,
      this.actions,
      this.body,
    );
    this.pressed = (/** @type {KeyboardEvent} */ event) => this.press(event);
    addEventListener("keydown", this.pressed);
    this.open();
  }

  async open() {
    try {
      const job = await ask(ofJob(this.id));
      if (this.closed) return;
      this.show(job);
      if (isActive(job)) this.follow();
      else if (job.status === "completed") await this.read();
    } catch (error) {
      if (statusOf(error) !== 401) {
        this.fail([404, 410].includes(statusOf(error)) ? t("gone") : explain(error));
      }
    }
  }

  /** @param {string} trouble */
  fail(trouble) {
    fill(this.body, h("p", { class: "trouble", role: "alert" }, trouble));
  }

  /** @param {Job} job */
  show(job) {
    fill(this.title, h("bdi", {}, job.filename));
    document.title = `${job.filename} · ${t("title")}`;
    fill(
      this.facts,
      h("span", { class: `state ${job.status}` }, ...state(job)),
      job.duration_seconds !== null && h("span", {}, clock(job.duration_seconds)),
      h("span", {}, languageName(job.language)),
      h("span", {}, job.model),
      job.words !== null && h("span", {}, t("words", { count: number(job.words) })),
      h("time", { datetime: job.created_at }, date(job.created_at)),
    );
    const act = (/** @type {string} */ name, /** @type {() => unknown} */ does) =>
      h("button", { type: "button", on: { click: does } }, t(name));
    fill(
      this.actions,
      isActive(job) && act("cancel", () => this.change("cancel")),
      job.status === "failed" && act("retry", () => this.change("retry")),
      job.status === "completed" && downloads(job),
      !isActive(job) && act("delete", () => this.delete(job)),
    );
    if (job.error && !isActive(job)) {
      fill(this.body, h("p", { class: "trouble" }, job.error.message), job.error.mend && h("p", {}, job.error.mend));
    }
  }

  /** Show what is heard, as it is heard, until the job has ended. */
  follow() {
    const estimate = h("p", { class: "estimate", role: "status" });
    const text = h("p", { class: "live", dir: "auto" });
    fill(this.body, estimate, text, h("p", { class: "hint" }, t("live")));
    /** @type {Map<number, {start_seconds: number, text: string}>} */
    const heard = new Map();
    /** @type {{at: number, done: number} | undefined} */
    let first;
    this.events = new EventSource(ofJob(this.id, "events"));
    const on = (/** @type {string} */ name, /** @type {(data: any) => void} */ does) => {
      this.events?.addEventListener(name, (event) => does(JSON.parse(event.data)));
    };
    on("status", (job) => this.show(job));
    on("progress", (progress) => {
      first ??= { at: performance.now(), done: progress.audio_seconds_done };
      estimate.textContent = timeLeft(progress, first);
    });
    on("text", (chunk) => {
      heard.set(chunk.index, chunk);
      const inOrder = [...heard.values()].sort((a, b) => a.start_seconds - b.start_seconds);
      text.textContent = inOrder.map((one) => one.text).join(" ");
    });
    on("end", (job) => {
      this.events?.close();
      this.show(job);
      if (job.status === "completed") this.read();
    });
    this.events.onerror = () => {
      estimate.textContent = t("connection");
    };
  }

  /** Show the transcript. */
  async read() {
    /** @type {Transcript} */
    const transcript = await ask(ofJob(this.id, "result", { format: "json" }));
    if (this.closed) return;
    const { segments, duration_seconds: duration } = transcript;
    const reader = new Reader(segments, (seconds) => player.seek(seconds, true), transcript.language);
    const player = new Player(ofJob(this.id, "audio"), duration, (seconds) => reader.show(seconds));
    Object.assign(this, { reader, player });
    const doubts = this.doubts(transcript, player);
    fill(
      this.body,
      doubts,
      segments.length ? reader.element : h("p", { class: "trouble" }, t("noText")),
      h("div", { class: "dock" }, reader.follow, player.element, h("p", { class: "hint" }, t("keysHelp"))),
    );
    if (this.at !== null) player.seek(this.at);
  }

  /**
   * What to check, the worst first: parts without a text, suspect sentences, those the engine was least sure of.
   * @param {Transcript} transcript
   * @param {Player} player
   */
  doubts({ segments, gaps, warnings, checks }, player) {
    const notes = [
      ...warnings.map((one) => one.message),
      ...checks.filter((one) => !one.passed).map((one) => one.description),
    ];
    const unsure = segments
      .filter((one) => one.confidence !== null && one.confidence < UNSURE && !one.flags.length)
      .sort((a, b) => Number(a.confidence) - Number(b.confidence))
      .slice(0, MOST_UNSURE);
    const places = [
      ...gaps.map((one) => ({ start: one.start, why: t("gap", { reason: one.reason }), text: "" })),
      ...segments
        .filter((one) => one.flags.length)
        .map((one) => ({ start: one.start, why: one.flags.map((flag) => t(flag)).join(", "), text: one.text })),
      ...unsure.map((one) => ({
        start: one.start,
        why: t("unsure", { share: share(Number(one.confidence)) }),
        text: one.text,
      })),
    ];
    const count = notes.length + places.length;
    return h(
      "details",
      { class: "doubts" },
      h("summary", {}, t("toCheck"), " ", h("b", {}, count)),
      count ? null : h("p", {}, t("nothingToCheck")),
      ...notes.map((note) => h("p", { class: "note", dir: "auto" }, note)),
      h(
        "ol",
        {},
        ...places.map(({ start, why, text }) =>
          h(
            "li",
            {},
            h(
              "button",
              {
                type: "button",
                on: {
                  click: () => {
                    this.reader?.setFollowing(true);
                    player.seek(start, true);
                  },
                },
              },
              clock(start),
            ),
            " ",
            h("bdi", {}, text),
            " ",
            h("small", {}, why),
          ),
        ),
      ),
    );
  }

  /** @param {KeyboardEvent} event */
  press(event) {
    const target = /** @type {Element} */ (event.target);
    if (
      !this.player ||
      event.ctrlKey ||
      event.metaKey ||
      event.altKey ||
      target.closest("input, select, textarea, dialog, summary")
    )
      return;
    if (event.key === " " && target.closest("button, a")) return;
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (step && this.reader?.segments.length) {
      this.reader.setFollowing(true);
      this.player.seek(this.reader.neighbour(step));
    } else if (!this.player.press(event.key)) return;
    event.preventDefault();
  }

  /** @param {"cancel" | "retry"} what */
  async change(what) {
    this.events?.close();
    try {
      await ask(ofJob(this.id, what), { method: "POST" });
      this.open();
    } catch (error) {
      this.fail(explain(error));
    }
  }

  /** @param {Job} job */
  delete(job) {
    const dialog = h(
      "dialog",
      {},
      h(
        "form",
        { method: "dialog" },
        h("p", {}, t("deleteSure", { name: job.filename })),
        h("button", { value: "keep", autofocus: true }, t("keep")),
        " ",
        h("button", { value: "delete", class: "danger" }, t("delete")),
      ),
    );
    dialog.addEventListener("close", async () => {
      dialog.remove();
      if (dialog.returnValue !== "delete") return;
      try {
        await ask(ofJob(this.id), { method: "DELETE" });
        location.hash = "#/";
      } catch (error) {
        this.fail(explain(error));
      }
    });
    document.body.append(dialog);
    dialog.showModal();
  }

  close() {
    this.closed = true;
    this.events?.close();
    this.player?.close();
    this.reader?.close();
    removeEventListener("keydown", this.pressed);
  }
}

/** @param {Job} job */
function downloads(job) {
  const stem = job.filename.replace(/\.[^.]*$/, "");
  return h(
    "span",
    { class: "downloads" },
    t("download"),
    ...Object.entries(FORMATS).map(([extension, format]) =>
      h("a", { href: ofJob(job.job_id, "result", { format }), download: `${stem}.${extension}` }, extension),
    ),
  );
}

/**
 * How much is done, and about how long the rest takes.
 * @param {import("./types.js").Progress} progress
 * @param {{at: number, done: number}} first what was done when it was first seen, and when that was
 */
function timeLeft({ audio_seconds_done: done, audio_seconds_total: total }, first) {
  if (!total || done / total < ESTIMATE_FROM) return "";
  const speed = (done - first.done) / (performance.now() - first.at);
  const rest = speed > 0 && done < total ? ` · ${t("left", { time: clock((total - done) / speed / 1000) })}` : "";
  return share(done / total) + rest;
}
