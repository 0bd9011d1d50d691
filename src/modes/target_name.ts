/**
 * The names of targets on the command line.
 *
 * ```
 * /path  ./path  ../path  ~/path                              a local directory
 * understudy://HOST[:PORT]/NAME  HOST[:PORT]/NAME             replica NAME on a target server
 * us1-…                                                       join token
 * ```
 * @module
 */
import { isAbsolute, resolve } from "node:path";
import { type Address, formatAddress, parseAddress } from "../base/address.ts";
import { reasonOf, UsageError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import { checkSetName } from "../store/state_directory.ts";

/** What a target's name says. */
export type TargetName =
  /** Single-server mode; `path` is absolute. */
  | { kind: "directory"; path: string }
  /** Replica `name` on a target server. */
  | { kind: "server"; hostname: string; port: number; name: string }
  /** A join token, not yet decoded. Secret: never printed whole. */
  | { kind: "token"; token: string };

/** Where a target server listens unless it is told otherwise. */
export const DEFAULT_PORT = 7420;

/** What a name is relative to. */
export interface TargetNameContext {
  /** The user's home directory, for `~/`. */
  home?: string;
}

const SCHEME = "understudy://";

/**
 * Reads the name of a target.
 *
 * @throws {UsageError} If it has none of the three forms, or a part of it is wrong.
 */
export function parseTargetName(text: string, context: TargetNameContext = {}): TargetName {
  if (isDirectoryName(text)) return { kind: "directory", path: resolve(expandHome(text, context)) };
  if (/^us\d+-/.test(text)) return { kind: "token", token: text };
  if (text.startsWith(SCHEME)) return parseServer(text, text.slice(SCHEME.length));
  if (/^[a-z]+:\/\//i.test(text)) throw notATarget(text, `only ${SCHEME} is known`);
  if (text.includes("/")) return parseServer(text, text);
  throw notATarget(text, "it has none of these forms");
}

/** A target's name for people and for `status`: of a token no more than that it is one. */
export function formatTargetName(target: TargetName): string {
  switch (target.kind) {
    case "directory":
      return target.path;
    case "server":
      return `${formatAddress(target)}/${target.name}`;
    case "token":
      return `${target.token.slice(0, target.token.indexOf("-"))}-…`;
  }
}

function isDirectoryName(text: string): boolean {
  return /^(\.{1,2}|~)(\/|$)/.test(text) || isAbsolute(text) ||
    (Deno.build.os === "windows" && /^\.{1,2}\\/.test(text));
}

function expandHome(text: string, context: TargetNameContext): string {
  if (!text.startsWith("~")) return text;
  if (!context.home) throw notATarget(text, "HOME is not set");
  return context.home + text.slice(1);
}

function parseServer(text: string, rest: string): TargetName {
  const slash = rest.indexOf("/");
  const name = slash < 0 ? "" : rest.slice(slash + 1).replace(/\/$/, "");
  if (name === "") throw notATarget(text, "the name of the replica is missing");
  if (name.includes("/")) throw notATarget(text, "a replica has one name, without a slash");
  const { hostname, port } = parseHost(text, rest.slice(0, slash));
  try {
    checkSetName(name);
  } catch (error) {
    throw new UsageError(
      `Cannot use target ${quote(text)}: ${reasonOf(error).replace(/^Cannot use name /, "")}`,
    );
  }
  return { kind: "server", hostname, port, name };
}

function parseHost(text: string, host: string): Address {
  try {
    return parseAddress(host, { port: DEFAULT_PORT });
  } catch (error) {
    throw notATarget(text, reasonOf(error).replace(/^Cannot read address ".*?": /s, ""));
  }
}

function notATarget(text: string, reason: string): UsageError {
  return new UsageError(
    `Cannot use target ${
      quote(text)
    }: ${reason}. A target is a directory (/path, ./path, ../path, ~/path), ` +
      `a replica on a server (HOST[:PORT]/NAME) or a join token (us1-…)`,
  );
}
