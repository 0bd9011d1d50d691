/**
 * The ordered journal over the built executable: what changed while the target was away arrives as it was, one state after
 * the other, also if the source was killed meanwhile; beyond its size the last state arrives. About 40 s.
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { JournalStatus, SourceStatus } from "../../src/base/status.ts";
import { callControl, findDaemon } from "../../src/control/client.ts";
import { lacks } from "../testing/needs.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux");
const ROUNDS = 60;

async function journal(replication: Replication): Promise<JournalStatus> {
  return (await replication.laneStatus()).journal;
}

function waitForJournal(replication: Replication, state: JournalStatus["state"]): Promise<JournalStatus> {
  return waitFor(async () => {
    const status = await journal(replication);
    return status.state === state && status;
  }, { what: `the journal to be ${state}`, timeoutMs: 60_000, intervalMs: 50 });
}

/** A number, and behind it what makes it take its time on a thin line. */
function numbered(number: number): string {
  return `${number}\n${crypto.getRandomValues(new Uint8Array(4_096)).toHex()}`;
}

/** A large file of which the number is all that ever changes; written at once. */
function number(path: string, value: number): void {
  const isNew = value === 0;
  using file = Deno.openSync(path, { write: true, create: isNew });
  if (isNew) file.writeSync(crypto.getRandomValues(new Uint8Array(60_000)));
  if (isNew) file.truncateSync(1_200_000);
  file.seekSync(0, Deno.SeekMode.Start);
  file.writeSync(new TextEncoder().encode(`${value}`.padEnd(19) + "\n"));
}

async function numberIn(path: string): Promise<number> {
  using file = await Deno.open(path);
  const head = new Uint8Array(20);
  await file.read(head);
  return parseInt(new TextDecoder().decode(head));
}

/** The numbers in two files, read one after the other. */
async function readPair(directory: string): Promise<[a: number, b: number]> {
  return [
    await numberIn(`${directory}/a`),
    await numberIn(`${directory}/b`),
  ];
}

for (const isKilled of [false, true]) {
  Deno.test({
    name: `--ordered: the target passes through every state that the source had while it was away${
      isKilled ? ", though the source was killed before it came back" : ""
    }`,
    ignore,
    async fn() {
      await using replication = await openReplication({ proxied: true });
      const { source, replica, proxy } = replication;
      for (const name of ["a", "b"]) await Deno.writeTextFile(`${source}/${name}`, numbered(0));
      await replication.watch(["--ordered", "64M"]);
      await replication.flush();
      assertEquals((await journal(replication)).state, "idle");
      const receivedBefore = (await replication.replicaStatus()).opsReceived.file;
      proxy!.refusing = true;
      proxy!.cut();
      await replication.waitForState("disconnected");
      const daemon = await findDaemon({ state: replication.state });
      const queuedOps = async () => {
        const status = await callControl(daemon.path, "status", {}) as SourceStatus;
        return status.targets[0].queuedOps;
      };
      // In the source `b` is what `a` is, or one behind.
      for (let i = 1; i <= ROUNDS; i++) {
        for (const name of ["a", "b"]) {
          const before = await queuedOps();
          await Deno.writeTextFile(`${source}/${name}`, numbered(i));
          // A watching source sees what is there when it looks: on a busy machine that takes its time.
          await waitFor(async () => await queuedOps() > before, {
            what: "the change to be seen",
            intervalMs: 2,
          });
        }
      }
      const written = await waitForJournal(replication, "writing");
      assert(written.bytes > 2 * ROUNDS * 50, JSON.stringify(written));
      await new Promise((resolve) => setTimeout(resolve, 300));
      if (isKilled) {
        replication.daemon!.kill("SIGKILL");
        await replication.daemon!.ended();
      }
      // The line lets little through at a time, so that there is something to see.
      proxy!.weather = { bytesPerSecond: 150_000 };
      const seen: [number, number][] = [];
      let isOver = false;
      const looking = (async () => {
        while (!isOver) {
          // What changed between the two reads is looked at again.
          const [before, after] = [await readPair(replica), await readPair(replica)];
          if (before.join() === after.join()) seen.push(before);
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
      })();
      proxy!.refusing = false;
      if (isKilled) await replication.startWatching(["--ordered", "64M"]);
      await replication.waitForState("live");
      await replication.flush();
      isOver = true;
      await looking;
      const states = new Set(seen.map((pair) => pair.join()));
      for (const [a, b] of seen) assert(a - b === 0 || a - b === 1, `a is ${a} and b is ${b}`);
      console.log(`${states.size} states seen of ${2 * ROUNDS}`);
      // Some dozens of ops come in one message: of those the reader sees the last.
      assert(states.size >= 3, [...states].join(" "));
      const received = (await replication.replicaStatus()).opsReceived.file - receivedBefore;
      assert(received >= 1.9 * ROUNDS, `${received} versions came of ${2 * ROUNDS}`);
      await replication.assertEqual();
      await waitForJournal(replication, "idle");
    },
  });
}

Deno.test({
  name:
    "--ordered: beyond its size the journal says that it is full, and the last state of everything arrives",
  ignore,
  async fn() {
    await using replication = await openReplication({ proxied: true });
    const { source, proxy } = replication;
    await Deno.writeTextFile(`${source}/a`, "0");
    await replication.watch(["--ordered", "16M"]);
    proxy!.refusing = true;
    proxy!.cut();
    await replication.waitForState("disconnected");
    const random = new Uint8Array(512 * 1024);
    for (let at = 0; at < random.length; at += 65_536) {
      crypto.getRandomValues(random.subarray(at, at + 65_536));
    }
    for (let i = 0; i < 60; i++) {
      random[0] = i;
      await Deno.writeFile(`${source}/random${i % 40}`, random);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const full = await waitForJournal(replication, "full");
    assert(full.bytes <= 17 << 20, `${full.bytes} bytes`);
    assert((await replication.laneStatus()).stackedOps > 0);
    const status = await replication.run(["status"], { expectCode: 0 });
    assert(/ordered journal full/.test(status.stdout), status.stdout);
    proxy!.refusing = false;
    await replication.waitForState("live");
    await replication.flush();
    await replication.assertEqual();
    await waitForJournal(replication, "idle");
  },
});

Deno.test({
  name:
    "--ordered: large files, too, pass through every state, without a question to the target that is away",
  ignore,
  async fn() {
    await using replication = await openReplication({ proxied: true });
    const { source, replica, proxy } = replication;
    for (const name of ["a", "b"]) number(`${source}/${name}`, 0);
    await replication.watch(["--ordered", "64M"]);
    await replication.flush();
    proxy!.refusing = true;
    proxy!.cut();
    await replication.waitForState("disconnected");
    const daemon = await findDaemon({ state: replication.state });
    const sent = async () => {
      const { targets: [lane] } = await callControl(daemon.path, "status", {}) as SourceStatus;
      return lane.opsSent.close ?? 0;
    };
    for (let i = 1; i <= 15; i++) {
      for (const name of ["a", "b"]) {
        const before = await sent();
        number(`${source}/${name}`, i);
        await waitFor(async () => await sent() > before, { what: "the change to be kept", intervalMs: 2 });
      }
    }
    const { bytes } = await waitForJournal(replication, "writing");
    console.log(`${bytes} bytes are kept of ${2 * 15} changes of files of 1,200,000`);
    assert(bytes < 30 * 100_000, `blocks that differ are kept: ${bytes}`);
    proxy!.weather = { bytesPerSecond: 500_000 };
    const seen: [number, number][] = [];
    proxy!.refusing = false;
    await waitFor(async () => {
      const [before, after] = [await readPair(replica), await readPair(replica)];
      if (before.join() === after.join()) seen.push(before);
      return after.join() === "15,15";
    }, { what: "the last state", timeoutMs: 60_000, intervalMs: 1 });
    for (const [a, b] of seen) assert(a - b === 0 || a - b === 1, `a is ${a} and b is ${b}`);
    const states = new Set(seen.map((pair) => pair.join()));
    console.log(`${states.size} states seen of 30`);
    assert(states.size >= 3, [...states].join(" "));
    await replication.waitForState("live");
    await replication.flush();
    await replication.assertEqual();
  },
});
