// The documented routes of the API, and its errors. See docs/api.md.

import { t } from "./texts.js";

/** An error of the API: what is wrong, and how to mend it. */
export class Problem extends Error {
  /**
   * @param {number} status the HTTP status; 0 where the API was not reached
   * @param {string} detail
   * @param {string} [mend]
   */
  constructor(status, detail, mend = "") {
    super(detail);
    this.status = status;
    this.mend = mend;
  }
}

/**
 * What a person is told of an error.
 * @param {unknown} error
 */
export function explain(error) {
  if (!(error instanceof Problem)) return String(error);
  return error.status ? `${error.message} ${error.mend}`.trim() : t("offline");
}

/**
 * The HTTP status of an error; 0 where there was no answer.
 * @param {unknown} error
 */
export const statusOf = (error) => (error instanceof Problem ? error.status : 0);

/** Called where a session is missing or over. */
export const onSignedOut = new EventTarget();

/**
 * The address of a route, also where the API is served under a path of its own.
 * @param {string} path
 * @param {Record<string, string | number | boolean | undefined | null>} [query]
 */
export function address(path, query = {}) {
  const url = new URL(path, document.baseURI);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, String(value));
  }
  return url.href;
}

/**
 * The address of what belongs to a job.
 * @param {string} id
 * @param {string} [what] such as `audio`
 * @param {Record<string, string | number | boolean | undefined | null>} [query]
 */
export function ofJob(id, what = "", query = {}) {
  return address(`api/v1/tasks/${encodeURIComponent(id)}${what && `/${what}`}`, query);
}

/**
 * Ask the API, and read its answer as JSON.
 * @param {string} url
 * @param {RequestInit & {json?: unknown}} [options]
 * @returns {Promise<any>} null for an answer without a body
 */
export async function ask(url, { json, ...options } = {}) {
  /** @type {Response} */
  let response;
  try {
    const body =
      json === undefined ? {} : { body: JSON.stringify(json), headers: { "Content-Type": "application/json" } };
    response = await fetch(url, { ...options, ...body });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem(0, String(error));
  }
  if (response.ok) return response.status === 204 ? null : response.json();
  throw problem(response.status, await response.text());
}

/**
 * Read an error of the API.
 * @param {number} status
 * @param {string} body
 */
export function problem(status, body) {
  if (status === 401) onSignedOut.dispatchEvent(new Event("signed-out"));
  try {
    const { detail, mend } = JSON.parse(body);
    return new Problem(status, detail, mend ?? "");
  } catch {
    return new Problem(status, body.slice(0, 300) || `HTTP ${status}`);
  }
}

/**
 * A name for one request, so that sending it again makes no second job.
 * @returns {string}
 */
export function requestKey() {
  // Not randomUUID, which browsers have on https and loopback alone.
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
