/**
 * One gitignore pattern: what `dir.c` of git makes of a line, oddities included. A pattern is matched with one path;
 * that a directory takes along what is below it is the list's business (rule_list.ts).
 *
 * | form of the pattern          | matches                                        |
 * |------------------------------|------------------------------------------------|
 * | no slash, or only at the end | the name of an entry, in any directory         |
 * | a slash before its end       | the path of an entry from the root: *anchored* |
 * | a slash at its end           | directories only                               |
 * | a lone slash                 | the root (git: nothing)                        |
 * @module
 */
import { baseName, isWithin } from "../base/path.ts";
import { byteText, hasWildcard, literalSize, wildmatch } from "./wildmatch.ts";

/** A pattern, ready to match. Paths are byte texts relative to the root. */
export interface Pattern {
  /** Whether it means the root itself. */
  readonly isRoot: boolean;
  /** Whether it names a path from the root, and not names anywhere. */
  readonly isAnchored: boolean;
  /** Whether the entry at this path matches. */
  matches(path: string, isDirectory: boolean): boolean;
  /** Whether something below this directory may match; in doubt, yes. */
  mayMatchBelow(directory: string): boolean;
}

/** Reads a pattern: a line of a gitignore file without `!` and without spaces at its end. */
export function parsePattern(line: string): Pattern {
  const text = byteText(line);
  if (text === "/") return rootPattern;
  const onlyDirectories = text.endsWith("/");
  const body = onlyDirectories ? text.slice(0, -1) : text;
  return body.includes("/") ? new PathPattern(body, onlyDirectories) : new NamePattern(body, onlyDirectories);
}

const rootPattern: Pattern = {
  isRoot: true,
  isAnchored: true,
  matches: (path) => path === "",
  mayMatchBelow: () => false,
};

/** Names in any directory. */
class NamePattern implements Pattern {
  readonly isRoot = false;
  readonly isAnchored = false;
  readonly #onlyDirectories: boolean;
  readonly #matchesName: (name: string) => boolean;

  constructor(body: string, onlyDirectories: boolean) {
    this.#onlyDirectories = onlyDirectories;
    if (!hasWildcard(body)) this.#matchesName = (name) => name === body;
    else if (body[0] === "*" && !hasWildcard(body.slice(1))) {
      const ending = body.slice(1);
      this.#matchesName = (name) => name.endsWith(ending);
    } else this.#matchesName = (name) => wildmatch(body, name, { isPath: false });
  }

  matches(path: string, isDirectory: boolean): boolean {
    return path !== "" && (isDirectory || !this.#onlyDirectories) && this.#matchesName(baseName(path));
  }

  mayMatchBelow(): boolean {
    return true;
  }
}

/** Paths from the root. */
class PathPattern implements Pattern {
  readonly isRoot = false;
  readonly isAnchored = true;
  readonly #onlyDirectories: boolean;
  /** Up to the first wildcard: compared as it is. */
  readonly #prefix: string;
  /** From the first wildcard on, `""` if there is none. */
  readonly #rest: string;
  /** Its parts, between slashes. */
  readonly #parts: string[];

  constructor(body: string, onlyDirectories: boolean) {
    const pattern = body.startsWith("/") ? body.slice(1) : body;
    const size = literalSize(pattern);
    this.#onlyDirectories = onlyDirectories;
    this.#prefix = pattern.slice(0, size);
    this.#rest = pattern.slice(size);
    this.#parts = pattern.split("/");
  }

  matches(path: string, isDirectory: boolean): boolean {
    if (path === "" || (this.#onlyDirectories && !isDirectory) || !path.startsWith(this.#prefix)) {
      return false;
    }
    // As in git, a "**" that follows the prefix counts as the begin of the pattern.
    const rest = path.slice(this.#prefix.length);
    if (this.#rest === "") return rest === "";
    return wildmatch(this.#rest, rest, { isPath: true });
  }

  mayMatchBelow(directory: string): boolean {
    if (this.#rest === "") return isWithin(this.#prefix, directory) && this.#prefix !== directory;
    if (directory === "") return true;
    const names = directory.split("/");
    for (const [i, name] of names.entries()) {
      const part = this.#parts[i];
      if (part === undefined) return false;
      // It may cross slashes, here or in a way that only git knows of.
      if (part.includes("**")) return true;
      if (!wildmatch(part, name, { isPath: true })) return hasOddity(part);
    }
    return this.#parts.length > names.length;
  }
}

/** A set may hold a slash, or its end lie behind one: then the parts between slashes are not what is matched. */
function hasOddity(part: string): boolean {
  return part.includes("[") || part.endsWith("\\");
}
