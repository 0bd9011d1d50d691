/**
 * A source, its replica and the road between them, all of real programs: what the tests of the executable stand on.
 *
 * ```text
 * DIRECTORY/source/           what is replicated
 * DIRECTORY/replica/          where it arrives by the local road
 * DIRECTORY/root/replica/     where it arrives over TCP, served by `serve-target --root DIRECTORY/root`
 * DIRECTORY/state/            state of the source's commands
 * ```
 * @module
 */
import type {
  FlushResult,
  LaneStatus,
  PromotionResult,
  ReplicaStatus,
  SourceStatus,
  TargetStatus,
} from "../../src/base/status.ts";

import type { PassSummary } from "../../src/source/one_pass.ts";
import { assertSameTree, type CompareOptions } from "./manifest.ts";
import type { RunningProcess, RunOptions, RunResult } from "./process.ts";
import { type Proxy, startProxy } from "./proxy.ts";
import { type TempDirectory, tempDirectory } from "./temp.ts";
import { run, start, startTarget, type TargetServer } from "./understudy.ts";
import { waitFor } from "./wait.ts";

/** How a {@linkcode Replication} is set up. */
export interface ReplicationOptions {
  /** A local directory, or a server on loopback. @default {"tcp"} */
  road?: "tcp" | "local";
  /** Puts a proxy before the server, which counts what passes. @default {false} */
  proxied?: boolean;
  /** Holds DIRECTORY itself, for example another file system. By default what `tempDirectory` takes. */
  parent?: string;
  /** Holds the server's root in place of DIRECTORY, for example a small file system. Only with road `tcp`. */
  rootParent?: string;
  /** Given to `watch-source`, `mirror` and `restore`, for example `--cipher none`. @default {[]} */
  /** Given to `serve-target`. @default none */
  serverArgs?: string[];
  args?: string[];
}

/** Name of the replica on the server. */
const NAME = "replica";

/** What a busy machine may take for a flush. */
const FLUSH_TIMEOUT = "50s";

/** Makes the directories and, with road `tcp`, starts the server. Dispose of the result to end all. */
export async function openReplication(options: ReplicationOptions = {}): Promise<Replication> {
  const { road = "tcp", proxied = false, args = [], serverArgs = [], parent, rootParent } = options;
  await using cleanup = new AsyncDisposableStack();
  const directory = cleanup.use(await tempDirectory({ parent }));
  for (const name of ["source", "root", "state"]) await Deno.mkdir(`${directory.path}/${name}`);
  const root = `${rootParent ?? directory.path}/root`;
  await Deno.mkdir(root, { recursive: true });
  if (road === "local") {
    const target = `${directory.path}/replica`;
    return new Replication({ directory, root, target, args, cleanup: cleanup.move() });
  }
  const server = await startTarget(root, { args: serverArgs });
  // The server may be another one by the time of the clean-up.
  const holder = { server, args: serverArgs };
  cleanup.defer(() => holder.server[Symbol.asyncDispose]());
  const proxy = proxied ? cleanup.use(startProxy(server.address)) : undefined;
  const target = await server.invite(NAME, proxy?.address);
  return new Replication({ directory, root, target, args, proxy, holder, cleanup: cleanup.move() });
}

/** See {@linkcode openReplication}. */
export class Replication implements AsyncDisposable {
  readonly directory: string;
  readonly source: string;
  readonly replica: string;
  /** Root of the server. Only with road `tcp`. */
  readonly root: string;
  readonly state: string;
  /** The target as commands are given it: a path or a join token. */
  readonly target: string;
  /** Before the server, if one was asked for. */
  readonly proxy: Proxy | undefined;
  /** The running `watch-source`. */
  daemon: RunningProcess | undefined;

  readonly #args: string[];
  readonly #holder: { server: TargetServer; args: string[] } | undefined;
  readonly #cleanup: AsyncDisposableStack;

  constructor({ directory, root, target, args, proxy, holder, cleanup }: {
    directory: TempDirectory;
    root: string;
    target: string;
    args: string[];
    proxy?: Proxy;
    holder?: { server: TargetServer; args: string[] };
    cleanup: AsyncDisposableStack;
  }) {
    this.directory = directory.path;
    this.source = `${directory.path}/source`;
    this.root = root;
    this.replica = holder ? `${root}/${NAME}` : target;
    this.state = `${directory.path}/state`;
    this.target = target;
    this.proxy = proxy;
    this.#args = args;
    this.#holder = holder;
    this.#cleanup = cleanup;
  }

  /** The server. Only with road `tcp`. */
  get server(): TargetServer {
    if (!this.#holder) throw new Error("Cannot name the server: the road is local");
    return this.#holder.server;
  }

  /** `HOST:PORT/NAME`, for use once the pairing is done; the path where the road is local. */
  get pairedTarget(): string {
    if (!this.#holder) return this.target;
    return `${this.proxy?.address ?? this.server.address}/${NAME}`;
  }

  /** Runs a command with the state directory of this source. */
  run(args: string[], options: RunOptions = {}): Promise<RunResult> {
    return run([...args, "--state", this.state], { timeoutMs: 120_000, ...options });
  }

  /** Starts a command with the state directory of this source; it ends with this object, if not before. */
  async startCommand(args: string[]): Promise<RunningProcess> {
    return this.#cleanup.use(await start([...args, "--state", this.state]));
  }

  /** Runs `mirror` and returns its summary. @throws {Error} Unless it ends with `expectCode` (default 0). */
  async mirror(args: string[] = [], options: RunOptions = {}): Promise<PassSummary> {
    const all = ["mirror", this.source, this.target, ...this.#args, "--json", ...args];
    return JSON.parse((await this.run(all, { expectCode: 0, ...options })).stdout);
  }

  /** Runs `restore`; any exit code is returned. */
  restore(directory: string, args: string[] = [], options: RunOptions = {}): Promise<RunResult> {
    return this.run(["restore", this.pairedTarget, directory, ...this.#args, ...args], options);
  }

  /** Starts `watch-source` and waits until it is live. */
  async watch(args: string[] = []): Promise<RunningProcess> {
    const daemon = await this.startWatching(args);
    await daemon.waitForLine(/^live$/, { timeoutMs: 120_000 });
    return daemon;
  }

  /** Starts `watch-source` and does not wait. */
  async startWatching(args: string[] = []): Promise<RunningProcess> {
    const all = ["watch-source", this.source, "--to", this.target, ...this.#args, ...args];
    this.daemon = this.#cleanup.use(await start([...all, "--state", this.state]));
    return this.daemon;
  }

  /** Ends `watch-source` in order. @throws {Error} Unless it ends with 0. */
  async stopWatching(): Promise<void> {
    this.daemon!.kill("SIGTERM");
    const { code } = await this.daemon!.ended();
    if (code !== 0) throw new Error(`Cannot go on: ${this.daemon!.describe()} ended with ${code}`);
  }

  /** Ends `watch-source` as a crash would. */
  async kill(): Promise<void> {
    this.daemon!.kill("SIGKILL");
    await this.daemon!.ended();
  }

  /** Runs `promote` on the target's machine. */
  async promote(args: string[] = [], options: RunOptions = {}): Promise<PromotionResult> {
    const all = ["promote", NAME, "--root", this.#holder ? this.root : this.directory, "--json", ...args];
    return JSON.parse((await run(all, { expectCode: 0, ...options })).stdout);
  }

  /**
   * Runs `flush`.
   *
   * @param options.hasProblems Whether something cannot be replicated. @default {false}
   * @throws {Error} If it does not end with the exit code for that; with what both sides said.
   */
  async flush({ hasProblems = false } = {}): Promise<FlushResult> {
    const wanted = hasProblems ? 3 : 0;
    const { code, stdout, stderr } = await this.run(["flush", "--timeout", FLUSH_TIMEOUT, "--json"]);
    if (code === wanted) return JSON.parse(stdout);
    const sides = [this.daemon, this.#holder?.server.process].map((process) => process?.describe());
    throw new Error(
      `Cannot flush: it ended with ${code} instead of ${wanted}\n${stdout}${stderr}${sides.join("\n")}`,
    );
  }

  /** Status of the running source. */
  async sourceStatus(): Promise<SourceStatus> {
    return JSON.parse((await this.run(["status", "--json"], { expectCode: 0 })).stdout);
  }

  /** Status of the running source's only target. */
  async laneStatus(): Promise<LaneStatus> {
    return (await this.sourceStatus()).targets[0];
  }

  /** Status of the server. */
  async targetStatus(): Promise<TargetStatus> {
    const args = ["status", "--root", this.root, "--json"];
    return JSON.parse((await run(args, { expectCode: 0 })).stdout);
  }

  /** Status of the server's only replica. */
  async replicaStatus(): Promise<ReplicaStatus> {
    return (await this.targetStatus()).replicas[0];
  }

  /** Waits until the source says that its only target is in this state. */
  async waitForState(state: LaneStatus["state"]): Promise<LaneStatus> {
    return await waitFor(async () => {
      const lane = await this.laneStatus();
      return lane.state === state && lane;
    }, { what: `state ${state}`, timeoutMs: 60_000, intervalMs: 100 });
  }

  /** Ends the server, in order unless `signal` says otherwise. */
  async stopServer(signal: Deno.Signal = "SIGTERM"): Promise<void> {
    this.server.process.kill(signal);
    await this.server.process.ended();
  }

  /** Starts the server again where it was. */
  async startServer(): Promise<void> {
    const { address } = this.server;
    this.#holder!.server = await startTarget(this.root, { listen: address, args: this.#holder!.args });
  }

  /** Asserts that source and replica are equal, root included. */
  assertEqual(options: CompareOptions = {}): Promise<void> {
    return assertSameTree(this.source, this.replica, { root: true, hardLinks: true, ...options });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanup.disposeAsync();
  }
}
