// The page: who is signed in, and which view the address names.

import { address, ask, explain, onSignedOut, statusOf } from "./api.js";
import { fill, h } from "./dom.js";
import { JobPage } from "./job.js";
import { Library } from "./library.js";
import { LANGUAGES, language, t } from "./texts.js";
import * as uploads from "./uploads.js";

const session = address("api/v1/session");
const main = h("main", { id: "main" });
const who = h("span", { class: "who" });
const languages = h(
  "select",
  {
    "aria-label": t("interface"),
    on: {
      change: () => {
        localStorage.setItem("language", languages.value);
        location.reload();
      },
    },
  },
  ...LANGUAGES.map((one) => h("option", { value: one, selected: one === language }, one.toUpperCase())),
);

/** @type {Library | JobPage | null} */
let view = null;

function show() {
  const [, id, at] = location.hash.match(/^#\/jobs\/([0-9a-f]{32})(?:\/at\/([\d.]+))?$/) ?? [];
  view?.close();
  document.title = t("title");
  view = id ? new JobPage(id, at === undefined ? null : Number(at)) : new Library();
  fill(main, !id && uploads.element, view.element);
}

/** Ask for a key. @param {string} [trouble] */
function signIn(trouble = "") {
  view?.close();
  view = null;
  const key = h("input", {
    type: "password",
    name: "key",
    autocomplete: "current-password",
    required: true,
    autofocus: true,
  });
  const told = h("p", { class: "trouble", role: "alert" }, trouble);
  const form = h(
    "form",
    {
      class: "sign-in",
      on: {
        submit: async (/** @type {Event} */ event) => {
          event.preventDefault();
          try {
            await ask(session, { method: "POST", json: { key: key.value.trim() } });
            await begin();
          } catch (error) {
            told.textContent = explain(error);
          }
        },
      },
    },
    h("h1", {}, t("signIn")),
    h("label", {}, t("key"), key),
    told,
    h("button", { type: "submit" }, t("signIn")),
    h("p", { class: "hint" }, t("keyHelp")),
  );
  fill(who);
  fill(main, form);
  key.focus();
}

async function signOut() {
  await ask(session, { method: "DELETE" }).catch(() => {});
  signIn();
}

async function begin() {
  try {
    const { name } = await ask(session);
    fill(
      who,
      name && h("bdi", {}, name),
      name && h("button", { type: "button", on: { click: signOut } }, t("signOut")),
    );
  } catch (error) {
    if (statusOf(error) !== 401) fill(main, h("p", { class: "trouble" }, explain(error)));
    return;
  }
  show();
  uploads.resume();
}

onSignedOut.addEventListener("signed-out", () => {
  if (!main.querySelector(".sign-in")) signIn(view ? t("sessionOver") : "");
});
document.documentElement.lang = language;
document.title = t("title");
document.body.append(
  h(
    "header",
    {},
    h("a", { class: "home", href: "#/" }, t("title")),
    who,
    h("a", { href: "docs" }, t("apiDocs")),
    languages,
  ),
  main,
);
addEventListener("hashchange", () => {
  if (view) show();
});
uploads.listen();
begin();
