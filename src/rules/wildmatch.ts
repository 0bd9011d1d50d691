/**
 * Matches a text with a pattern of wildcards exactly as git does: a port of its `wildmatch.c`, which decides what a
 * gitignore pattern means where the manual is silent. Works on bytes, as git does: both arguments are *byte texts*, in
 * which each character is one byte.
 *
 * | pattern     | matches                                                              |
 * |-------------|----------------------------------------------------------------------|
 * | `?`         | one byte; no `/` in a path                                           |
 * | `*`         | any bytes; no `/` in a path                                          |
 * | `**`        | between slashes or at an end of a path: `/` too                      |
 * | `[a-z]`     | one of these; `[!…]` and `[^…]` none of these; `[[:alpha:]]` a class |
 * | `\x`        | `x` itself                                                           |
 * @module
 */
import { pathToBytes } from "../base/path.ts";

/** How a text is matched. */
export interface WildmatchOptions {
  /** The text is a path: wildcards stop at `/`. */
  isPath: boolean;
}

/** Beyond "no": how far back another try makes no sense. */
type Outcome = "match" | "no match" | "abort all" | "abort to starstar";

const SLASH = 0x2f;
const STAR = 0x2a;
const QUESTION = 0x3f;
const BRACKET = 0x5b;
const BRACKET_END = 0x5d;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const DASH = 0x2d;
const CARET = 0x5e;
const BANG = 0x21;

/** A path or pattern with one character for each of its bytes. The same string if it is ASCII. */
export function byteText(path: string): string {
  // deno-lint-ignore no-control-regex
  if (/^[\x00-\x7f]*$/.test(path)) return path;
  let text = "";
  for (const byte of pathToBytes(path)) text += String.fromCharCode(byte);
  return text;
}

/** Whether a pattern has any of the characters that mean more than themselves. */
export function hasWildcard(pattern: string): boolean {
  return literalSize(pattern) < pattern.length;
}

/** Bytes before the first wildcard or backslash. */
export function literalSize(pattern: string): number {
  const at = pattern.search(/[*?[\\]/);
  return at < 0 ? pattern.length : at;
}

/** Whether a byte text matches a pattern wholly. */
export function wildmatch(pattern: string, text: string, { isPath }: WildmatchOptions): boolean {
  return new Match(pattern, text, isPath).from(0, 0) === "match";
}

/** One match of one text; holds what does not change on the way. */
class Match {
  readonly #pattern: string;
  readonly #text: string;
  readonly #isPath: boolean;

  constructor(pattern: string, text: string, isPath: boolean) {
    this.#pattern = pattern;
    this.#text = text;
    this.#isPath = isPath;
  }

  /** Matches the pattern from `start` on with the text from `t` on. */
  from(start: number, t: number): Outcome {
    const [pattern, text] = [this.#pattern, this.#text];
    for (let p = start; p < pattern.length; p++, t++) {
      const wanted = pattern.charCodeAt(p);
      if (t >= text.length && wanted !== STAR) return "abort all";
      const found = text.charCodeAt(t);
      if (wanted === STAR) return this.#star(p, t, start);
      if (wanted === QUESTION) {
        if (this.#isPath && found === SLASH) return "no match";
      } else if (wanted === BRACKET) {
        const set = this.#inSet(p + 1, found);
        if (set === undefined) return "abort all";
        if (!set.isIn || (this.#isPath && found === SLASH)) return "no match";
        p = set.end;
      } else if (wanted === BACKSLASH) {
        if (pattern.charCodeAt(++p) !== found) return "no match";
      } else if (wanted !== found) return "no match";
    }
    return t < text.length ? "no match" : "match";
  }

  /** Goes on at the star at `star`. `start` is where git begins to count whether anything stands before it. */
  #star(star: number, t: number, start: number): Outcome {
    const [pattern, text] = [this.#pattern, this.#text];
    let p = star + 1;
    let crossesSlash = !this.#isPath;
    if (pattern.charCodeAt(p) === STAR) {
      while (pattern.charCodeAt(p) === STAR) p++;
      const beginsPart = star - start < 1 || pattern.charCodeAt(star - 1) === SLASH;
      const endsPart = p === pattern.length || pattern.charCodeAt(p) === SLASH ||
        (pattern.charCodeAt(p) === BACKSLASH && pattern.charCodeAt(p + 1) === SLASH);
      if (this.#isPath && beginsPart && endsPart) {
        // "**/" may stand for nothing at all.
        if (pattern.charCodeAt(p) === SLASH && this.from(p + 1, t) === "match") return "match";
        crossesSlash = true;
      }
    }
    if (p === pattern.length) {
      return crossesSlash || !text.includes("/", t) ? "match" : "abort to starstar";
    }
    if (!crossesSlash && pattern.charCodeAt(p) === SLASH) {
      // A lone "*" takes everything up to the next slash.
      const slash = text.indexOf("/", t);
      return slash < 0 ? "abort all" : this.from(p + 1, slash + 1);
    }
    return this.#tryEverywhere(p, t, crossesSlash);
  }

  #tryEverywhere(p: number, from: number, crossesSlash: boolean): Outcome {
    const [pattern, text] = [this.#pattern, this.#text];
    const wanted = pattern.charCodeAt(p);
    const isLiteral = literalSize(pattern[p]) === 1;
    for (let t = from; t < text.length; t++) {
      if (isLiteral) {
        while (t < text.length && (crossesSlash || text.charCodeAt(t) !== SLASH)) {
          if (text.charCodeAt(t) === wanted) break;
          t++;
        }
        if (text.charCodeAt(t) !== wanted) return crossesSlash ? "abort all" : "abort to starstar";
      }
      const outcome = this.from(p, t);
      if (outcome !== "no match") {
        if (!crossesSlash || outcome !== "abort to starstar") return outcome;
      } else if (!crossesSlash && text.charCodeAt(t) === SLASH) return "abort to starstar";
    }
    return "abort all";
  }

  /** Whether a byte is in the set that begins behind the bracket; `undefined` if the set is none. */
  #inSet(begin: number, byte: number): { isIn: boolean; end: number } | undefined {
    const pattern = this.#pattern;
    let p = begin;
    const isNegated = pattern.charCodeAt(p) === BANG || pattern.charCodeAt(p) === CARET;
    if (isNegated) p++;
    let matched = false;
    let previous = 0;
    do {
      if (p >= pattern.length) return undefined;
      let wanted = pattern.charCodeAt(p);
      const next = pattern.charCodeAt(p + 1);
      if (wanted === BACKSLASH) {
        if (++p >= pattern.length) return undefined;
        wanted = pattern.charCodeAt(p);
        matched ||= byte === wanted;
      } else if (wanted === DASH && previous !== 0 && p + 1 < pattern.length && next !== BRACKET_END) {
        if (pattern.charCodeAt(++p) === BACKSLASH) p++;
        if (p >= pattern.length) return undefined;
        matched ||= byte >= previous && byte <= pattern.charCodeAt(p);
        wanted = 0;
      } else if (wanted === BRACKET && next === COLON) {
        const end = pattern.indexOf("]", p + 2);
        if (end < 0) return undefined;
        if (end - p < 3 || pattern.charCodeAt(end - 1) !== COLON) {
          matched ||= byte === BRACKET;
        } else {
          const inClass = classes[pattern.slice(p + 2, end - 1)];
          if (!inClass) return undefined;
          matched ||= byte < 0x80 && inClass.test(String.fromCharCode(byte));
          wanted = 0;
          p = end;
        }
      } else matched ||= byte === wanted;
      previous = wanted;
      p++;
    } while (pattern.charCodeAt(p) !== BRACKET_END);
    return { isIn: matched !== isNegated, end: p };
  }
}

/** The classes of git, of ASCII only. */
const classes: Readonly<Record<string, RegExp | undefined>> = {
  // A plain object would know "constructor" as a class.
  __proto__: null as never,
  alnum: /[A-Za-z0-9]/,
  alpha: /[A-Za-z]/,
  blank: /[ \t]/,
  // deno-lint-ignore no-control-regex
  cntrl: /[\x00-\x1f\x7f]/,
  digit: /[0-9]/,
  graph: /[!-~]/,
  lower: /[a-z]/,
  print: /[ -~]/,
  punct: /[!-/:-@[-`{-~]/,
  space: /[ \t\n\r]/,
  upper: /[A-Z]/,
  xdigit: /[0-9A-Fa-f]/,
};
