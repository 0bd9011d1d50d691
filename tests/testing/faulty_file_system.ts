/**
 * A file system that does what it is told and fails where a test wants it to: each call of a tree or an open file is
 * announced before and after it happens, and whoever listens may throw.
 * @module
 */
import { SystemError } from "../../src/base/errors.ts";
import type { FileSystem, OpenFile, Tree } from "../../src/sys/file_system.ts";

/** A call that is about to happen, or has happened. */
export interface Call {
  /** Name of the method: `rename`, `write`, … */
  method: string;
  /** Path that it names; for a file that on which it was opened. */
  path: string;
  /** Root of its tree. */
  root: string;
  arguments: unknown[];
}

/** What a test does at calls. What it throws is what the call throws. */
export interface CallListener {
  before?(call: Call): void;
  after?(call: Call): void;
}

/** Methods that change something or make it durable. */
export const changingMethods: ReadonlySet<string> = new Set([
  "makeDirectory",
  "makeSymlink",
  "makeNode",
  "unlink",
  "removeDirectory",
  "rename",
  "setAttributes",
  "setXattr",
  "syncDirectory",
  "syncAll",
  "write",
  "truncate",
  "punch",
  "sync",
  "copyFrom",
  "create",
]);

/** The process ended here, as far as the code under test is concerned. */
export class Crash extends Error {
  override name = "Crash";
}

/** Listens to calls and crashes at one of the changing ones, before or after it is done. */
export class CrashPoint implements CallListener {
  /** Changing calls so far. */
  count = 0;
  readonly #at: number;
  readonly #phase: "before" | "after";

  /** @param at Number of the call, from 1; 0 for none. */
  constructor(at: number, phase: "before" | "after") {
    this.#at = at;
    this.#phase = phase;
  }

  before({ method }: Call): void {
    // Nothing happens any more after a crash.
    if (this.#at > 0 && this.count > this.#at) throw new Crash();
    if (!changingMethods.has(method)) return;
    this.count++;
    if (this.count === this.#at && this.#phase === "before") this.#crash();
  }

  after({ method }: Call): void {
    if (changingMethods.has(method) && this.count === this.#at) this.#crash();
  }

  #crash(): never {
    this.count++;
    throw new Crash();
  }
}

/** Fails changing calls with an errno while `isFailing` says so. */
export class Trouble implements CallListener {
  readonly code: string;
  isFailing: (call: Call) => boolean;

  constructor(code: string, isFailing: (call: Call) => boolean) {
    this.code = code;
    this.isFailing = isFailing;
  }

  before(call: Call): void {
    if (!changingMethods.has(call.method) || !this.isFailing(call)) return;
    // A full disk takes part of a write.
    if (call.method === "write" && this.code === "ENOSPC") this.#writeHalf(call);
    throw new SystemError(this.code, `Cannot ${call.method} "${call.path}": the test says so (${this.code})`);
  }

  #writeHalf({ arguments: [bytes, offset, raw] }: Call): void {
    const half = bytes as Uint8Array;
    (raw as OpenFile).write(half.subarray(0, half.length >> 1), offset as number);
  }
}

/** Wraps a file system so that `listener` hears of each call. */
export function faultyFileSystem(inner: FileSystem, listener: CallListener): FileSystem {
  return {
    name: inner.name,
    abilities: inner.abilities,
    tellsFileUse: inner.tellsFileUse,
    openTree: (rootPath, options) => wrapTree(inner.openTree(rootPath, options), listener),
  };
}

const originals = new WeakMap<object, object>();

function wrapTree(tree: Tree, listener: CallListener): Tree {
  return wrap(tree, (method, args, run) => {
    if (method === "close") return run();
    const isCreating = method === "open" && (args[1] as { access: string }).access === "create";
    const path = typeof args[0] === "string" ? args[0] : "";
    const options = args[2] as { into?: Tree } | undefined;
    if (options?.into) args[2] = { ...options, into: original(options.into) };
    const call = { method: isCreating ? "create" : method, path, root: tree.rootPath, arguments: args };
    listener.before?.(call);
    let result = run();
    if (method === "open") result = wrapFile(result as OpenFile, { path, root: tree.rootPath }, listener);
    if (method === "subtree") result = wrapTree(result as Tree, listener);
    listener.after?.(call);
    return result;
  });
}

function wrapFile(file: OpenFile, place: { path: string; root: string }, listener: CallListener): OpenFile {
  return wrap(file, (method, args, run) => {
    if (method === "close") return run();
    if (method === "copyFrom") args[0] = original(args[0] as object);
    const call = { method, ...place, arguments: method === "write" ? [...args, file] : args };
    listener.before?.(call);
    const result = run();
    listener.after?.(call);
    return result;
  });
}

function wrap<T extends object>(
  inner: T,
  invoke: (method: string, args: unknown[], run: () => unknown) => unknown,
): T {
  const wrapped = new Proxy(inner, {
    get(target, name) {
      const member = Reflect.get(target, name, target);
      if (typeof member !== "function") return member;
      if (typeof name === "symbol") return member.bind(target);
      return (...args: unknown[]) => invoke(name, args, () => member.apply(target, args));
    },
  });
  originals.set(wrapped, inner);
  return wrapped;
}

function original<T extends object>(wrapped: T): T {
  return (originals.get(wrapped) ?? wrapped) as T;
}
