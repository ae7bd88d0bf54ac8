// Sending recordings: from anywhere on the page, with progress, again after a lost connection, never twice.

import { address, ask, explain, onSignedOut, Problem, problem, requestKey } from "./api.js";
import { fill, h, set } from "./dom.js";
import { languageName, share, t } from "./texts.js";

/** @typedef {import("./types.js").Job} Job */

/** Recordings that are sent at once. */
const AT_ONCE = 2;
/** How long to wait before sending again, milliseconds: doubled each time, up to the last. */
const [FIRST_WAIT, LAST_WAIT] = [1000, 30_000];
// What whisper knows, by ISO 639; the API refuses others by name.
const CODES = (
  "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml cy " +
  "sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am yi lo " +
  "uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue"
).split(" ");

/** Tells of each job that came to be, as `detail`. */
export const onSent = new EventTarget();

/** @type {Upload[]} */
let uploads = [];
const list = h("ul", { class: "uploads", "aria-live": "polite" });
const input = h("input", {
  type: "file",
  multiple: true,
  hidden: true,
  accept: "audio/*,video/*,.opus,.amr,.mka,.mkv,.ts",
  on: {
    change: () => {
      send([...(input.files ?? [])]);
      input.value = "";
    },
  },
});
const overlay = h("div", { class: "overlay", hidden: true }, t("dropHere"));
const options = {
  language: choice("language", [
    ["", t("usual")],
    ["auto", t("auto")],
    ...CODES.map((code) => /** @type {[string, string]} */ ([code, languageName(code)])).sort((a, b) =>
      a[1].localeCompare(b[1]),
    ),
  ]),
  model: choice("model", [["", t("usual")]]),
  priority: choice("priority", [
    ["normal", t("normal")],
    ["high", t("high")],
    ["low", t("low")],
  ]),
  channels: choice("channels", [
    ["mix", t("mix")],
    ["split", t("split")],
  ]),
};

/** The place of uploads on the page. */
export const element = h(
  "section",
  { class: "sending" },
  h(
    "p",
    { class: "invitation" },
    t("drop"),
    " ",
    h("button", { type: "button", on: { click: () => input.click() } }, t("choose")),
    input,
  ),
  h(
    "details",
    { on: { toggle: offerModels } },
    h("summary", {}, t("options")),
    h("div", { class: "options" }, ...Object.entries(options).map(([name, select]) => h("label", {}, t(name), select))),
  ),
  list,
  overlay,
);

/**
 * @param {string} name
 * @param {[string, string][]} values
 */
function choice(name, values) {
  return h("select", { name }, ...values.map(([value, text]) => h("option", { value }, text)));
}

/** Offer the models that there are, once somebody looks. */
async function offerModels() {
  if (options.model.length > 1) return;
  const { data } = await ask(address("v1/models")).catch(() => ({ data: [] }));
  const known = new Set(["whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-transcribe"]);
  for (const { id } of data) if (!known.has(id)) options.model.append(h("option", { value: id }, id));
}

/** Take recordings that are dropped anywhere, and warn whoever leaves before they are sent. */
export function listen() {
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    overlay.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) overlay.hidden = true;
  });
  addEventListener("drop", async (event) => {
    overlay.hidden = true;
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    const dropped = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry() ?? item.getAsFile());
    send((await Promise.all(dropped.map(filesOf))).flat());
  });
  addEventListener("beforeunload", (event) => {
    if (uploads.some((upload) => upload.state !== "sent" && upload.state !== "refused")) event.preventDefault();
  });
}

/** Go on with what waited for somebody to sign in. */
export function resume() {
  for (const upload of uploads) if (upload.state === "signed out") upload.state = "waiting";
  next();
}

/**
 * The files of what was dropped, those of its folders too.
 * @param {FileSystemEntry | File | null} entry
 * @returns {Promise<File[]>}
 */
async function filesOf(entry) {
  if (entry instanceof File) return [entry];
  if (entry?.isFile) {
    return [await new Promise((found, failed) => /** @type {FileSystemFileEntry} */ (entry).file(found, failed))];
  }
  if (!entry?.isDirectory) return [];
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  const found = [];
  for (;;) {
    // a reader gives a part of a long folder at a time
    /** @type {FileSystemEntry[]} */
    const entries = await new Promise((read, failed) => reader.readEntries(read, failed));
    if (!entries.length) break;
    found.push(...entries.filter((one) => !one.name.startsWith(".")));
  }
  return (await Promise.all(found.map(filesOf))).flat();
}

/** @param {File[]} files */
function send(files) {
  const wanted = Object.fromEntries(Object.entries(options).map(([name, select]) => [name, select.value]));
  for (const file of files) uploads.push(new Upload(file, wanted));
  next();
}

function next() {
  for (const upload of uploads) {
    if (uploads.filter((one) => one.state === "sending").length >= AT_ONCE) return;
    if (upload.state === "waiting") upload.start();
  }
}

/** One recording on its way. */
class Upload {
  /**
   * @param {File} file
   * @param {Record<string, string>} wanted options of the upload
   */
  constructor(file, wanted) {
    this.file = file;
    this.wanted = wanted;
    this.key = requestKey();
    this.wait = FIRST_WAIT;
    /** @type {"waiting" | "sending" | "paused" | "signed out" | "sent" | "refused"} */
    this.state = "waiting";
    this.bar = h("progress", { max: 1, value: 0, "aria-label": file.name });
    this.told = h("span", { class: "told" }, t("waitingToSend"));
    this.actions = h(
      "span",
      {},
      this.action("cancel", () => this.remove()),
    );
    this.row = h("li", {}, h("bdi", {}, file.name), this.bar, this.told, this.actions);
    list.append(this.row);
  }

  /**
   * @param {string} name
   * @param {() => void} act
   */
  action(name, act) {
    return h("button", { type: "button", on: { click: act } }, t(name));
  }

  /** Send it whole. The same key again makes no second job of it, whatever became of the first answer. */
  start() {
    this.state = "sending";
    const request = new XMLHttpRequest(); // fetch tells of no progress
    this.request = request;
    request.open("PUT", address("api/v1/tasks/upload", { ...this.wanted, filename: this.file.name }));
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.setRequestHeader("Idempotency-Key", this.key);
    request.upload.onprogress = (event) => {
      set(this.bar, { value: event.loaded / event.total });
      this.told.textContent = t("sending", { share: share(event.loaded / event.total) });
    };
    request.onload = () => {
      if (request.status < 300) this.succeed(JSON.parse(request.responseText));
      else this.fail(problem(request.status, request.responseText));
    };
    request.onerror = () => this.fail(new Problem(0, t("offline")));
    request.send(this.file);
  }

  /** @param {Job} job */
  succeed(job) {
    this.state = "sent";
    this.row.remove();
    uploads = uploads.filter((one) => one !== this);
    onSent.dispatchEvent(new CustomEvent("sent", { detail: job }));
    next();
  }

  /** @param {Problem} error */
  fail(error) {
    if (error.status === 401) {
      this.state = "signed out";
    } else if ([0, 409, 429, 502, 503, 504].includes(error.status)) {
      this.state = "paused";
      this.told.textContent = `${t("tryingAgain")} (${error.message})`;
      setTimeout(() => {
        if (this.state === "paused") {
          this.state = "waiting";
          next();
        }
      }, this.wait);
      this.wait = Math.min(this.wait * 2, LAST_WAIT);
    } else {
      this.state = "refused";
      this.row.classList.add("refused");
      fill(this.told, explain(error));
      fill(
        this.actions,
        this.action("sendAgain", () => this.again()),
        this.action("remove", () => this.remove()),
      );
    }
    next();
  }

  again() {
    this.key = requestKey(); // it is another try, perhaps with what was wrong mended
    this.wanted = Object.fromEntries(Object.entries(options).map(([name, select]) => [name, select.value]));
    this.row.classList.remove("refused");
    fill(
      this.actions,
      this.action("cancel", () => this.remove()),
    );
    this.told.textContent = t("waitingToSend");
    this.state = "waiting";
    next();
  }

  remove() {
    this.state = "sent"; // it is no longer waited for
    this.request?.abort();
    this.row.remove();
    uploads = uploads.filter((one) => one !== this);
    next();
  }
}

onSignedOut.addEventListener("signed-out", () => {
  for (const upload of uploads) if (upload.state === "paused") upload.state = "signed out";
});
