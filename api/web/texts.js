// Every text of the page, in English and German, and how times and numbers are written.

/** @type {Record<string, Record<string, string>>} */
const TEXTS = {
  en: {
    title: "Transcripts",
    library: "Library",
    language: "Language",
    model: "Model",
    priority: "Priority",
    channels: "Channels",
    drop: "Drop recordings anywhere on this page, or",
    choose: "choose files",
    options: "Options",
    auto: "find out",
    usual: "as usual",
    high: "high",
    normal: "normal",
    low: "low",
    mix: "mixed",
    split: "one speaker a channel",
    sending: "Sending {share}",
    sent: "Sent",
    waitingToSend: "Waits to be sent",
    sendAgain: "Send again",
    remove: "Remove",
    tryingAgain: "Connection lost, trying again",
    leaving: "Recordings are still being sent.",
    filter: "Filter by name",
    all: "all",
    empty: "No recordings yet.",
    none: "Nothing fits the filter.",
    pending: "arriving",
    queued: "waiting",
    processing: "working",
    completed: "done",
    failed: "failed",
    cancelled: "cancelled",
    preparing: "decoding",
    chunking: "finding speech",
    transcribing: "transcribing",
    merging: "merging",
    uploading: "storing",
    place: "place {place} in the queue",
    left: "about {time} left",
    words: "{count} words",
    notes: "{count} to check",
    position: "Position",
    speed: "Speed",
    player: "Player",
    play: "Play",
    pause: "Pause",
    unplayable: "This browser cannot play the recording.",
    recording: "Download it",
    follow: "Follow the sound",
    playFrom: "Play from {time}",
    cancel: "Cancel",
    retry: "Try again",
    delete: "Delete",
    deleteSure: "Delete “{name}”, its recording and its transcript, for good?",
    keep: "Keep it",
    download: "Take away",
    toCheck: "Places to check",
    nothingToCheck: "Nothing stands out.",
    gap: "no text: {reason}",
    unsure: "{share} sure",
    repetition: "may be a repetition",
    noText: "The transcript is empty.",
    live: "First hearing; the transcript may say it better.",
    signIn: "Sign in",
    key: "API key",
    keyHelp: "`stt keys create NAME`, on the server, makes one.",
    signOut: "Sign out",
    offline: "The server cannot be reached.",
    gone: "There is no such recording (any more).",
    keys: "Keys",
    keysHelp: "Space or K plays, J and L go 10 s, ← → 5 s, ↑ ↓ a sentence.",
    connection: "Connection lost, trying again …",
    dropHere: "Drop to transcribe",
    sessionOver: "The session is over. What is being sent goes on after signing in.",
    apiDocs: "API",
    interface: "Language of this page",
  },
  de: {
    title: "Transkripte",
    library: "Bibliothek",
    language: "Sprache",
    model: "Modell",
    priority: "Vorrang",
    channels: "Kanäle",
    drop: "Aufnahmen irgendwo auf diese Seite ziehen, oder",
    choose: "Dateien wählen",
    options: "Optionen",
    auto: "erkennen",
    usual: "wie üblich",
    high: "hoch",
    normal: "normal",
    low: "niedrig",
    mix: "gemischt",
    split: "ein Sprecher je Kanal",
    sending: "{share} gesendet",
    sent: "Gesendet",
    waitingToSend: "Wartet auf das Senden",
    sendAgain: "Erneut senden",
    remove: "Entfernen",
    tryingAgain: "Verbindung verloren, neuer Versuch",
    leaving: "Es werden noch Aufnahmen gesendet.",
    filter: "Nach Namen filtern",
    all: "alle",
    empty: "Noch keine Aufnahmen.",
    none: "Nichts passt zum Filter.",
    pending: "kommt an",
    queued: "wartet",
    processing: "in Arbeit",
    completed: "fertig",
    failed: "gescheitert",
    cancelled: "abgebrochen",
    preparing: "dekodiert",
    chunking: "sucht Sprache",
    transcribing: "transkribiert",
    merging: "fügt zusammen",
    uploading: "speichert",
    place: "Platz {place} in der Schlange",
    left: "noch etwa {time}",
    words: "{count} Wörter",
    notes: "{count} zu prüfen",
    position: "Position",
    speed: "Tempo",
    player: "Wiedergabe",
    play: "Abspielen",
    pause: "Anhalten",
    unplayable: "Dieser Browser kann die Aufnahme nicht abspielen.",
    recording: "Herunterladen",
    follow: "Dem Ton folgen",
    playFrom: "Ab {time} abspielen",
    cancel: "Abbrechen",
    retry: "Erneut versuchen",
    delete: "Löschen",
    deleteSure: "„{name}“ mit Aufnahme und Transkript endgültig löschen?",
    keep: "Behalten",
    download: "Mitnehmen",
    toCheck: "Zu prüfende Stellen",
    nothingToCheck: "Nichts fällt auf.",
    gap: "ohne Text: {reason}",
    unsure: "{share} sicher",
    repetition: "vielleicht eine Wiederholung",
    noText: "Das Transkript ist leer.",
    live: "Erste Fassung; das Transkript kann besser sein.",
    signIn: "Anmelden",
    key: "API-Schlüssel",
    keyHelp: "`stt keys create NAME` auf dem Server erzeugt einen.",
    signOut: "Abmelden",
    offline: "Der Server ist nicht erreichbar.",
    gone: "Diese Aufnahme gibt es nicht (mehr).",
    keys: "Tasten",
    keysHelp: "Leertaste oder K spielt, J und L springen 10 s, ← → 5 s, ↑ ↓ einen Satz.",
    connection: "Verbindung verloren, neuer Versuch …",
    dropHere: "Loslassen zum Transkribieren",
    sessionOver: "Die Sitzung ist vorbei. Was gesendet wird, geht nach dem Anmelden weiter.",
    apiDocs: "API",
    interface: "Sprache dieser Seite",
  },
};

export const LANGUAGES = Object.keys(TEXTS);
export const language =
  [localStorage.getItem("language"), ...navigator.languages.map((one) => one.slice(0, 2)), "en"].find(
    (one) => one && one in TEXTS,
  ) ?? "en";

const numbers = new Intl.NumberFormat(language);
const shares = new Intl.NumberFormat(language, { style: "percent" });
const dates = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
const names = new Intl.DisplayNames(language, { type: "language", fallback: "code" });

/**
 * A text of the page.
 * @param {string} name
 * @param {Record<string, string | number>} [values] for its places in braces
 */
export function t(name, values = {}) {
  const text = TEXTS[language][name] ?? name;
  return text.replace(/\{(\w+)\}/g, (_, place) => String(values[place]));
}

/** @param {number} value */
export const number = (value) => numbers.format(value);
/** @param {number} value from 0 to 1 */
export const share = (value) => shares.format(value);
/** @param {string} moment ISO 8601 */
export const date = (moment) => dates.format(new Date(moment));

/**
 * A time of a recording: minutes and seconds, and hours where there are some.
 * @param {number} seconds
 */
export function clock(seconds) {
  const whole = Math.floor(Math.max(seconds, 0));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const rest = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/**
 * The name of a language in that of the page.
 * @param {string} code
 */
export function languageName(code) {
  try {
    return names.of(code) ?? code;
  } catch {
    // "auto" and the like are no codes
    return code;
  }
}
