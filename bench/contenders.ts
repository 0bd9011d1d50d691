/**
 * The programs that are compared, behind one interface: a server on loopback and a client that makes a replica equal.
 * @module
 */
import { type RunningProcess, runProcess, startProcess } from "../tests/testing/process.ts";
import { startProxy } from "../tests/testing/proxy.ts";
import { run, startTarget } from "../tests/testing/understudy.ts";
import { waitFor } from "../tests/testing/wait.ts";

/** A program with its server running. */
export interface Contender extends AsyncDisposable {
  name: string;
  /** Process ids of the server. */
  servers: number[];
  /** Prepares a new empty replica of a source directory; nothing is copied yet. */
  replica(source: string, options?: { countBytes?: boolean }): Promise<Replica>;
}

/** One replica of one source. */
export interface Replica extends AsyncDisposable {
  /** Where its files are. */
  directory: string;
  /** Makes it equal to the source, and waits for that. */
  mirror(): Promise<void>;
  /** Bytes that crossed the network so far, both ways. Only with `countBytes`, which slows the run. */
  bytes(): number;
}

/** Longer than any run may take. */
const MIRROR_LIMIT_MS = 600_000;

/** `rsync -a` to an rsync daemon. `directory` must be empty. */
export async function startRsync(directory: string): Promise<Contender> {
  const port = freePort();
  const configuration = `${directory}/rsyncd.conf`;
  const identity = Deno.uid() === 0 ? "uid = root\ngid = root\n" : "";
  await Deno.mkdir(`${directory}/replicas`);
  await Deno.writeTextFile(
    configuration,
    `use chroot = no\n${identity}[replicas]\npath = ${directory}/replicas\nread only = no\n`,
  );
  const args = [
    "--daemon",
    "--no-detach",
    `--config=${configuration}`,
    `--port=${port}`,
    "--address=127.0.0.1",
  ];
  const server = startProcess("rsync", args);
  await waitForServer(port, server);
  return {
    name: "rsync -a",
    servers: [server.pid],
    async replica(source, { countBytes = false } = {}) {
      const proxy = countBytes ? startProxy(`127.0.0.1:${port}`) : undefined;
      const name = crypto.randomUUID();
      await Deno.mkdir(`${directory}/replicas/${name}`);
      const url = `rsync://${proxy?.address ?? `127.0.0.1:${port}`}/replicas/${name}/`;
      return {
        directory: `${directory}/replicas/${name}`,
        async mirror() {
          await runProcess("rsync", ["-a", `${source}/`, url], { expectCode: 0, timeoutMs: MIRROR_LIMIT_MS });
        },
        bytes: () => proxy!.bytes.forth + proxy!.bytes.back,
        async [Symbol.asyncDispose]() {
          await proxy?.[Symbol.asyncDispose]();
          await Deno.remove(`${directory}/replicas/${name}`, { recursive: true });
        },
      };
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** `understudy mirror` to `understudy serve-target`. `directory` must be empty. */
export async function startUnderstudy(directory: string, mirrorArgs: string[]): Promise<Contender> {
  const root = `${directory}/replicas`;
  await Deno.mkdir(root);
  const server = await startTarget(root);
  let count = 0;
  return {
    name: "understudy",
    servers: [server.process.pid],
    async replica(source, { countBytes = false } = {}) {
      const proxy = countBytes ? startProxy(server.address) : undefined;
      const address = proxy?.address ?? server.address;
      const name = `r${++count}`;
      const state = `${directory}/state-${name}`;
      let target = await server.invite(name, address);
      return {
        directory: `${root}/${name}`,
        async mirror() {
          const args = ["mirror", source, target, "--state", state, ...mirrorArgs];
          await run(args, { expectCode: 0, timeoutMs: MIRROR_LIMIT_MS });
          target = `${address}/${name}`; // the token was good for one use
        },
        bytes: () => proxy!.bytes.forth + proxy!.bytes.back,
        async [Symbol.asyncDispose]() {
          await proxy?.[Symbol.asyncDispose]();
          await Deno.remove(state, { recursive: true }).catch(ignoreMissing);
          // Its catalog stays with the server; it is small.
          await Deno.remove(`${root}/${name}`, { recursive: true }).catch(ignoreMissing);
        },
      };
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

async function waitForServer(port: number, server: RunningProcess): Promise<void> {
  await waitFor(async () => {
    if (!server.running) throw new Error(server.describe());
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  }, { what: `the server at port ${port}` });
}

function ignoreMissing(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
