/**
 * `export`.
 * @module
 */
import { dirname } from "node:path";
import { CommandError, type Problem, UsageError } from "../base/errors.ts";
import { isWithin, quote } from "../base/path.ts";
import { targetStateDirectory } from "../store/state_directory.ts";
import { systemFileSystem } from "../sys/system.ts";
import { TarStream } from "../target/tar_stream.ts";
import { realPathOf, type ReplicaPlaces } from "../target/places.ts";
import { fileOutput, stdoutOutput, type TarOutput } from "./tar_output.ts";
import { type ExportOptions, parseExportOptions } from "./export_options.ts";
import { findReplica } from "./find_replica.ts";
import { type ExitCode, exitCodes, type Io } from "./mode.ts";
import { printProblems } from "./problem_lines.ts";
import { holdReplica } from "./held_replica.ts";

/** Runs `export`. */
export async function run(args: string[], io: Io): Promise<ExitCode> {
  const options = parseExportOptions(args);
  const { root, name, path, timeoutMs } = options;
  const places = findReplica(root, name, "export");
  using output = await orAborted(openOutput(options, places, io), io.signal);
  const rootState = targetStateDirectory(root);
  const state = options.state ?? rootState;
  const fileSystem = systemFileSystem();
  const { clock } = io;
  using held = await holdReplica({
    name,
    places,
    state,
    rootState,
    fileSystem,
    timeoutMs,
    clock,
    signal: io.signal,
  });
  using tree = fileSystem.openTree(places.replicaRoot, { confined: true });
  if (tree.stat(path) === undefined) {
    throw new CommandError(`Cannot export ${quote(path)}: the replica has no such path`);
  }
  const signal = AbortSignal.any([io.signal, held.lost]);
  const write = (bytes: Uint8Array) => orAborted(output.write(bytes), signal);
  let problemCount = 0;
  const onProblem = (problem: Problem) => {
    problemCount++;
    printProblems([problem], io);
  };
  const onLeftOut = (path: string, kind: string) =>
    io.stderr(`understudy: ${quote(path)} is left out: an archive cannot hold a ${kind}\n`);
  const stream = new TarStream({ tree, path, write, onProblem, onLeftOut, signal });
  await stream.writeEntries();
  // The end of the archive says that it is one of one moment.
  await orAborted(held.confirm(), signal);
  await stream.end();
  await output.finish();
  if (problemCount === 0) return exitCodes.done;
  io.stderr(`understudy: ${problemCount} in all are not in the archive as they are in the replica\n`);
  return exitCodes.partial;
}

async function openOutput(
  { output, force }: ExportOptions,
  { replicaRoot }: ReplicaPlaces,
  io: Io,
): Promise<TarOutput> {
  if (output === undefined) return stdoutOutput(io);
  if (isWithin(realPathOf(dirname(output)), realPathOf(replicaRoot))) {
    throw new UsageError(`Cannot write ${quote(output)}: it lies inside the replica`);
  }
  return await fileOutput(output, { force });
}

/** Waits for `work`, but not longer than `signal` lets it: whoever reads the archive may stand still. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
