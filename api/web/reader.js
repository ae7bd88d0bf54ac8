// A transcript that is read while it plays. Sentences are one text node each: words are found by their place in it, so
// that ten hours of talk are ten thousand paragraphs and not a hundred thousand elements.

import { h } from "./dom.js";
import { clock, t } from "./texts.js";

/** @typedef {import("./types.js").Segment} Segment */

//: Paragraphs that are laid out together, or not at all while they are out of sight.
const BLOCK = 40;
const VOICES = 6;

/** Shows segments; `element` is the text. Asks to `play` from a time, in seconds. */
export class Reader {
  /**
   * @param {Segment[]} segments in the order of their times
   * @param {(seconds: number) => void} play
   * @param {string} language of the text
   */
  constructor(segments, play, language) {
    this.segments = segments;
    this.play = play;
    this.current = -1;
    this.word = -1;
    this.following = true;
    /** @type {HTMLElement[]} */
    this.paragraphs = [];
    this.highlight = "highlights" in CSS ? new Highlight() : null;
    if (this.highlight) CSS.highlights.set("word", this.highlight);
    this.element = h("article", {
      class: "transcript",
      lang: language.length === 2 ? language : null,
      on: { click: (/** @type {MouseEvent} */ event) => this.click(event) },
    });
    this.follow = h(
      "button",
      { type: "button", class: "follow", hidden: true, on: { click: () => this.setFollowing(true) } },
      t("follow"),
    );
    const voices = [...new Set(segments.map((segment) => segment.speaker).filter((name) => name !== null))];
    for (let first = 0; first < segments.length; first += BLOCK) {
      const block = h("section");
      for (let index = first; index < Math.min(first + BLOCK, segments.length); index++) {
        block.append(this.paragraph(index, voices));
      }
      this.element.append(block);
    }
    // Who scrolls reads elsewhere, until asking to follow again.
    this.scrolled = () => this.setFollowing(false);
    for (const event of ["wheel", "touchmove"]) addEventListener(event, this.scrolled, { passive: true });
  }

  /**
   * @param {number} index
   * @param {(string | null)[]} voices
   */
  paragraph(index, voices) {
    const segment = this.segments[index];
    const isNewVoice = segment.speaker && segment.speaker !== this.segments[index - 1]?.speaker;
    const paragraph = h(
      "p",
      {
        dir: "auto",
        "data-index": index,
        class: segment.flags.length ? "doubtful" : null,
        "data-voice": segment.speaker ? voices.indexOf(segment.speaker) % VOICES : null,
        lang: segment.language,
      },
      h(
        "button",
        {
          type: "button",
          class: "at",
          tabindex: index ? -1 : 0,
          "aria-label": t("playFrom", { time: clock(segment.start) }),
        },
        clock(segment.start),
      ),
      isNewVoice && h("b", { class: "voice" }, segment.speaker),
      h("span", { class: "said" }, segment.text),
    );
    this.paragraphs.push(paragraph);
    return paragraph;
  }

  /** @param {number} index */
  textOf(index) {
    return /** @type {Text} */ (this.paragraphs[index].lastChild?.firstChild);
  }

  /** @param {MouseEvent} event */
  click(event) {
    const target = /** @type {Element} */ (event.target);
    const paragraph = target.closest("p");
    if (!paragraph || !getSelection()?.isCollapsed) return;
    const index = Number(paragraph.dataset.index);
    this.setFollowing(true);
    this.play(target.matches(".said") ? this.timeAt(index, event) : this.segments[index].start);
  }

  /**
   * The time of the word under the mouse; that of the sentence where it has none.
   * @param {number} index
   * @param {MouseEvent} event
   */
  timeAt(index, event) {
    const segment = this.segments[index];
    const offset = offsetAt(event.clientX, event.clientY);
    const place = offset === null ? -1 : places(segment).findIndex(([, end]) => offset <= end);
    return place < 0 ? segment.start : segment.words[place].start;
  }

  /**
   * Mark what is said at a time.
   * @param {number} seconds
   */
  show(seconds) {
    const index = lastBefore(this.segments, seconds);
    if (index !== this.current) {
      this.paragraphs[this.current]?.classList.remove("spoken");
      this.paragraphs[this.current]?.removeAttribute("aria-current");
      this.current = index;
      this.word = -1;
      const paragraph = this.paragraphs[index];
      if (paragraph) {
        paragraph.classList.add("spoken");
        paragraph.setAttribute("aria-current", "true");
        if (this.following) this.reveal(index);
      }
    }
    this.markWord(index, seconds);
  }

  /**
   * @param {number} index
   * @param {number} seconds
   */
  markWord(index, seconds) {
    if (!this.highlight) return;
    const words = this.segments[index]?.words ?? [];
    const word = lastBefore(words, seconds);
    if (word === this.word) return;
    this.word = word;
    this.highlight.clear();
    const place = word < 0 ? undefined : places(this.segments[index])[word];
    if (place) {
      const range = new StaticRange({
        startContainer: this.textOf(index),
        startOffset: place[0],
        endContainer: this.textOf(index),
        endOffset: place[1],
      });
      this.highlight.add(range);
    }
  }

  /**
   * Bring a sentence into view.
   * @param {number} index
   */
  reveal(index) {
    const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
    this.paragraphs[index].scrollIntoView({ block: "center", behavior });
  }

  /** @param {boolean} following */
  setFollowing(following) {
    this.following = following;
    this.follow.hidden = following;
    if (following && this.current >= 0) this.reveal(this.current);
  }

  /**
   * The begin of a sentence before or after the one that is spoken.
   * @param {number} step -1 or 1
   */
  neighbour(step) {
    const index = Math.min(Math.max(this.current + step, 0), this.segments.length - 1);
    return this.segments[index].start;
  }

  close() {
    for (const event of ["wheel", "touchmove"]) removeEventListener(event, this.scrolled);
    if (this.highlight) CSS.highlights.delete("word");
  }
}

/**
 * The index of the last of some stretches that begins by a time; -1 where none does.
 * @param {{start: number}[]} stretches in the order of their times
 * @param {number} seconds
 */
export function lastBefore(stretches, seconds) {
  let [low, high] = [0, stretches.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (stretches[middle].start <= seconds + 0.01) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/**
 * Where the words of a sentence stand in its text, as begins and ends.
 * @param {Segment} segment
 * @returns {[number, number][]}
 */
export function places(segment) {
  let end = 0;
  return segment.words.map((word) => {
    const text = word.text.trim();
    const found = segment.text.indexOf(text, end);
    const start = found < 0 ? end : found;
    end = Math.min(start + text.length, segment.text.length);
    return [start, end];
  });
}

/**
 * The place in a text node under a point of the page.
 * @param {number} x
 * @param {number} y
 * @returns {number | null}
 */
function offsetAt(x, y) {
  const caret = document.caretPositionFromPoint?.(x, y);
  return caret?.offset ?? document.caretRangeFromPoint?.(x, y)?.startOffset ?? null;
}
