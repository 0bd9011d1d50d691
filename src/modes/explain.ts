/**
 * `explain`.
 * @module
 */
import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { CommandError, UsageError } from "../base/errors.ts";
import type { Explanation, TargetExplanation } from "../base/explanation.ts";
import { isWithin, quote } from "../base/path.ts";
import { callControl } from "../control/client.ts";
import { Index } from "../source/index.ts";
import { type ExplainedEntry, explainOnTarget } from "../source/explain.ts";
import { SetKeeper } from "../source/set_keeper.ts";
import { SetScope } from "../source/set_scope.ts";
import { acquireLock } from "../store/lock_file.ts";
import { openIndexStore } from "../store/index_store.ts";
import { realPathOf } from "../target/places.ts";
import { daemonHelp, daemonOptions, daemonTable } from "./daemon_options.ts";
import { explainPath } from "./explain_path.ts";
import { indexPath } from "./index_path.ts";
import { keptOutOf } from "./kept_out.ts";
import { type KnownSet, knownSets, openRules } from "./known_sets.ts";
import { type ExitCode, exitCodes, type Io, printJson } from "./mode.ts";
import { flag, parseArguments } from "./options.ts";

/** Text of `help explain`. */
export const help = `\
Usage: understudy explain PATH [options]

Says of a path below the root of a set whether it is replicated, waits, failed and why, or is left out and by
which rule. Without a running source it answers by the rules and by what the source last knew of its targets.

Options:
${daemonHelp}\
  -j, --json        prints JSON
  -h, --help        this text

Exit codes: 0 done, 1 there is no such set, 2 usage, 130 interrupted.
`;

/** Runs `explain`. */
export async function run(args: string[], io: Io): Promise<ExitCode> {
  const { options, positionals } = parseArguments(args, {
    command: "explain",
    options: { ...daemonTable, json: flag("j") },
    positionals: ["PATH"],
  });
  if (options.root !== undefined) throw new UsageError("Cannot use --root: a target server has no sets");
  const { state } = daemonOptions(options, io);
  const all = await knownSets(state);
  const named = options.name === undefined ? all : all.filter(({ name }) => name === options.name);
  if (named.length === 0) {
    const which = options.name === undefined ? "no set" : `no set ${quote(options.name)}`;
    throw new CommandError(`Cannot explain ${quote(positionals[0])}: there is ${which} in ${quote(state)}`);
  }
  const path = placeOfEntry(positionals[0]);
  const containing = named.filter(({ root }) => isWithin(path, root === "/" ? "" : root));
  if (containing.length === 0) return tellOutside(path, named, options.json, io);
  const set = chooseAmong(containing);
  const relative = path === set.root ? "" : path.slice(set.root === "/" ? 1 : set.root.length + 1);
  const explanation = set.daemon
    ? await callControl(set.daemon.path, "explain", { path: relative }, { signal: io.signal })
    : explainAtRest(set, relative, state);
  if (options.json) printJson(io, explanation);
  else printExplanation(explanation, io);
  return exitCodes.done;
}

/** The path without symbolic links above its last name: that may be a link itself. */
function placeOfEntry(given: string): string {
  const path = resolve(given);
  if (path === "/") return path;
  const directory = realPathOf(dirname(path));
  return join(directory, basename(path));
}

function chooseAmong(sets: KnownSet[]): KnownSet {
  const running = sets.filter(({ daemon }) => daemon !== undefined);
  const candidates = running.length > 0 ? running : sets;
  if (candidates.length === 1) return candidates[0];
  const names = candidates.map(({ name }) => quote(name)).join(", ");
  throw new UsageError(`Cannot choose a set: ${names} have this path; choose with --name SET`);
}

function tellOutside(path: string, sets: KnownSet[], json: boolean, io: Io): ExitCode {
  const roots = sets.map(({ root }) => quote(root)).join(", ");
  const reason = `it lies outside ${sets.length === 1 ? "the root" : "the roots"} ${roots}`;
  if (json) printJson(io, { path, state: "never", reason, rule: null, targets: [], isRunning: false });
  else io.stdout(`${quote(path)}: never replicated: ${reason}\n`);
  return exitCodes.done;
}

/** Explains by what a source left on disk. */
function explainAtRest({ name, root, directory }: KnownSet, path: string, state: string): Explanation {
  using _lock = acquireLock(join(directory, "set.lock"));
  using store = openRules(directory);
  const keeper = new SetKeeper(store);
  const targets = (store.meta("targets") ?? "").split("\n").filter((label) => label !== "");
  const directories = targets.filter((label) => label.startsWith("/"));
  const scope = new SetScope({
    rules: keeper.rules(),
    keptOut: keptOutOf({
      root,
      state,
      targets: () => directories,
      oneFileSystem: store.meta("oneFileSystem") === "true",
    }),
  });
  return explainPath(path, {
    set: name,
    root,
    keeper,
    scope,
    targets: (entry) => targets.map((label) => explainByIndex(label, directory, entry)),
    isRunning: false,
  });
}

function explainByIndex(
  label: string,
  directory: string,
  entry: ExplainedEntry & { isIn: boolean },
): TargetExplanation {
  const file = indexPath(directory, label);
  if (!existsSync(file)) {
    return { target: label, state: "unknown", reason: "nothing is known of this target" };
  }
  using store = openIndexStore(file);
  if (!store.meta("streamId")) {
    return { target: label, state: "unknown", reason: "nothing is known of this target" };
  }
  const index = new Index();
  store.load(index);
  return explainOnTarget(label, entry, {
    held: index.get(entry.path),
    policy: {
      abilities: { ownership: true, modes: true, nanoseconds: true, links: true, nodes: true, xattrs: true },
    },
    isUnacked: false,
    waitsFor: "the source does not run",
  });
}

function printExplanation(explanation: Explanation, io: Io): void {
  const { root, path, state, reason, rule, targets, isRunning } = explanation;
  const word = state === "never" ? "never replicated" : state;
  io.stdout(`${quote(join(root, path))}: ${word}${reason === "" ? "" : `: ${reason}`}\n`);
  if (rule) {
    const verb = rule.text.startsWith("!") ? "included" : "excluded";
    const at = rule.matched === path ? "" : `, which matches ${quote(rule.matched || "/")}`;
    io.stdout(`  ${verb} by rule ${rule.line} ${quote(rule.text)} (${rule.origin})${at}\n`);
  }
  for (const target of targets) {
    const why = target.reason === "" ? "" : `: ${target.reason}`;
    io.stdout(`  on ${quote(target.target)}: ${target.state}${why}\n`);
  }
  if (!isRunning) io.stdout("  the source does not run: this is what it last knew\n");
}
