// One's own recordings, newest first, page by page as one scrolls, and how those that are under way stand.

import { address, ask, explain, ofJob, statusOf } from "./api.js";
import { fill, h, set } from "./dom.js";
import { clock, date, languageName, number, t } from "./texts.js";
import { onSent } from "./uploads.js";

/** @typedef {import("./types.js").Job} Job */

const STATES = ["queued", "processing", "completed", "failed", "cancelled"];
const PAGE = 100;
/** How often to look, milliseconds: while something is under way, and else. */
const [SOON, LATER] = [1500, 10_000];
/** Jobs whose progress is asked for at a look. */
const FOLLOWED = 8;

/** Whether a job has not ended. @param {Job} job */
export const isActive = (job) => ["pending", "queued", "processing"].includes(job.status);

/** The list of jobs. */
export class Library {
  constructor() {
    /** @type {Map<string, {job: Job, row: HTMLLIElement}>} */
    this.jobs = new Map();
    /** @type {string | null} */
    this.cursor = "";
    this.loading = false;
    this.list = h("ul", { class: "jobs" });
    this.end = h("p", { class: "end" });
    this.trouble = h("p", { class: "trouble", role: "status" });
    this.filter = h("input", {
      type: "search",
      placeholder: t("filter"),
      "aria-label": t("filter"),
      on: { input: () => this.show() },
    });
    this.status = h(
      "select",
      { "aria-label": t("library"), on: { change: () => this.restart() } },
      h("option", { value: "" }, t("all")),
      ...STATES.map((state) => h("option", { value: state }, t(state))),
    );
    this.element = h(
      "section",
      { class: "library" },
      h("div", { class: "tools" }, this.filter, this.status),
      this.trouble,
      this.list,
      this.end,
    );
    this.observer = new IntersectionObserver(
      ([entry]) => {
        if (entry.isIntersecting) this.more();
      },
      { rootMargin: "800px" },
    );
    this.observer.observe(this.end);
    this.sent = (/** @type {any} */ event) => {
      this.put(event.detail, true);
      this.show();
    };
    onSent.addEventListener("sent", this.sent);
    this.timer = setTimeout(() => this.look(), SOON);
  }

  /** Begin again, with another filter of the server's. */
  restart() {
    this.jobs.clear();
    this.list.replaceChildren();
    this.cursor = "";
    this.more();
  }

  /** Load the next page. */
  async more() {
    if (this.loading || this.cursor === null) return;
    this.loading = true;
    try {
      const status = this.status.value;
      const page = await ask(address("api/v1/tasks", { limit: PAGE, cursor: this.cursor, status }));
      if (status !== this.status.value) return;
      for (const job of page.tasks) this.put(job);
      this.cursor = page.next_cursor;
      this.trouble.textContent = "";
    } catch (error) {
      this.trouble.textContent = statusOf(error) ? explain(error) : t("connection");
      await new Promise((done) => setTimeout(done, LATER));
    } finally {
      this.loading = false;
    }
    this.show();
    // The end may still be in sight, which the observer does not tell again.
    if (this.filter.value || this.end.getBoundingClientRect().top < innerHeight + 800) this.more();
  }

  /**
   * Show a job: in its old place, or as one that is new.
   * @param {Job} job
   * @param {boolean} [first] whether it is newer than all the others
   */
  put(job, first = false) {
    const known = this.jobs.get(job.job_id);
    if (known) {
      known.job = job;
      fill(known.row, ...cells(job));
      known.row.className = job.status;
      return;
    }
    const row = h("li", { class: job.status }, ...cells(job));
    this.jobs.set(job.job_id, { job, row });
    if (first) this.list.prepend(row);
    else this.list.append(row);
  }

  /** Hide what does not fit the filter. */
  show() {
    const wanted = this.filter.value.trim().toLocaleLowerCase();
    let shown = 0;
    for (const { job, row } of this.jobs.values()) {
      row.hidden = !job.filename.toLocaleLowerCase().includes(wanted);
      shown += Number(!row.hidden);
    }
    this.end.textContent = shown || this.cursor ? "" : t(this.jobs.size ? "none" : "empty");
    if (wanted) this.more();
  }

  /** See what is new, and how far what is under way has come. */
  async look() {
    try {
      const page = await ask(address("api/v1/tasks", { limit: 50, status: this.status.value }));
      for (const job of page.tasks.toReversed()) {
        if (!this.jobs.has(job.job_id) || !isActive(job)) this.put(job, true);
      }
      const active = [...this.jobs.values()].map(({ job }) => job).filter(isActive);
      for (const { job_id: id } of active.slice(0, FOLLOWED)) {
        const job = await ask(ofJob(id)).catch((error) =>
          [404, 410].includes(statusOf(error)) ? null : Promise.reject(error),
        );
        if (job) this.put(job);
        else this.forget(id);
      }
      this.trouble.textContent = "";
    } catch (error) {
      this.trouble.textContent = statusOf(error) ? explain(error) : t("connection");
    }
    this.show();
    const soon = [...this.jobs.values()].some(({ job }) => isActive(job));
    if (!this.closed) this.timer = setTimeout(() => this.look(), soon ? SOON : LATER);
  }

  /** @param {string} id */
  forget(id) {
    this.jobs.get(id)?.row.remove();
    this.jobs.delete(id);
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.observer.disconnect();
    onSent.removeEventListener("sent", this.sent);
  }
}

/** @param {Job} job */
function cells(job) {
  const notes = job.warnings.length + job.failed_checks.length;
  return [
    h("a", { href: `#/jobs/${job.job_id}` }, h("bdi", {}, job.filename)),
    h("span", { class: "state" }, ...state(job)),
    h(
      "span",
      { class: "facts" },
      job.duration_seconds !== null && h("span", {}, clock(job.duration_seconds)),
      h("span", {}, languageName(job.language)),
      job.words !== null && h("span", {}, t("words", { count: number(job.words) })),
      notes > 0 && h("span", { class: "notes" }, t("notes", { count: notes })),
    ),
    h("time", { datetime: job.created_at }, date(job.created_at)),
  ];
}

/**
 * How a job stands: its stage, its share, its place in the queue.
 * @param {Job} job
 */
export function state(job) {
  const { progress, queue_position: place } = job;
  const share = progress?.audio_seconds_total ? progress.audio_seconds_done / progress.audio_seconds_total : null;
  const text = h("span", {}, t(job.status === "processing" && job.stage ? job.stage : job.status));
  const bar = h("progress", { max: 1, "aria-label": job.filename });
  if (share !== null) set(bar, { value: share });
  return [
    text,
    job.status === "processing" && bar,
    job.status === "queued" && place && h("small", {}, t("place", { place })),
  ];
}
