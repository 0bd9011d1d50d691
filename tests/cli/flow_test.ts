/**
 * Flow over the built executable: rates that are kept and changed live, live changes that go before a mirror, and rules on
 * when anything is sent. About 60 s.
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { FlowStatus } from "../../src/base/status.ts";
import { lacks } from "../testing/needs.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { waitFor } from "../testing/wait.ts";

const ignore = lacks("linux");
const MiB = 1024 ** 2;

function randomBytes(size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
}

async function flow(replication: Replication, ...args: string[]): Promise<FlowStatus> {
  const { stdout } = await replication.run(["flow", "--json", ...args], { expectCode: 0 });
  return JSON.parse(stdout).targets[0];
}

/** Bytes a second that pass the proxy, measured over some seconds in the middle of a large file. */
async function measureRate({ proxy }: Replication, seconds: number): Promise<number> {
  const startMs = performance.now();
  const before = proxy!.bytes.forth;
  await new Promise((resolve) => setTimeout(resolve, 1_000 * seconds));
  return (proxy!.bytes.forth - before) / ((performance.now() - startMs) / 1_000);
}

function assertWithin(measured: number, wanted: number, what: string): void {
  const ratio = measured / wanted;
  console.log(`${what}: ${(100 * ratio).toFixed(1)} % of what was asked for`);
  assert(Math.abs(ratio - 1) <= 0.15, `${what}: ${measured} bytes a second instead of ${wanted}`);
}

function arrives(replication: Replication, name: string): Promise<unknown> {
  return waitFor(() => Deno.stat(`${replication.replica}/${name}`).then(() => true, () => false), {
    what: `"${name}" to arrive`,
    timeoutMs: 20_000,
    intervalMs: 5,
  });
}

Deno.test({
  name:
    "--limit-rate is kept within 15 %, changed live and over restarts, and live changes go before a mirror",
  ignore,
  async fn() {
    await using replication = await openReplication({ proxied: true, args: ["--compress", "none"] });
    const { source } = replication;
    await Deno.writeFile(`${source}/large`, randomBytes(64 * MiB));
    await replication.startWatching(["--limit-rate", "1M"]);
    await waitFor(() => replication.proxy!.bytes.forth > 300_000, {
      what: "the mirror to begin",
      timeoutMs: 30_000,
    });
    assertWithin(await measureRate(replication, 3), MiB, "1M");
    await flow(replication, "--limit-rate", "4M");
    await new Promise((resolve) => setTimeout(resolve, 300));
    assertWithin(await measureRate(replication, 3), 4 * MiB, "4M");

    const took: number[] = [];
    for (let i = 0; i < 20; i++) {
      const startMs = performance.now();
      await Deno.writeTextFile(`${source}/live${i}`, "live");
      await arrives(replication, `live${i}`);
      took.push(performance.now() - startMs);
    }
    took.sort((a, b) => a - b);
    console.log(`live changes during it: ${took[9].toFixed(0)} ms p50, ${took[19].toFixed(0)} ms at most`);
    assert(took[9] < 1_000, `${took[9]} ms`);
    assertEquals((await replication.laneStatus()).state, "mirroring", "the mirror goes on");

    await replication.stopWatching();
    await replication.startWatching();
    const { limitRate } = await waitFor(() => flow(replication).catch(() => undefined), {
      what: "the source",
    });
    assertEquals(limitRate, 4 * MiB);
    await waitFor(() => replication.laneStatus().then(({ state }) => state === "mirroring"), {
      what: "the mirror",
    });
    assertWithin(await measureRate(replication, 2), 4 * MiB, "4M after a restart");
    const text = await replication.run(["flow", "--limit-rate", "off"], { expectCode: 0 });
    assertMatch(text.stdout, /sent at once, as fast as it goes/);
    await replication.waitForState("live");
    await replication.flush();
    await replication.assertEqual();
  },
});

Deno.test({
  name: "--limit-rate at its lowest: a live change does not wait behind what a mirror has in hand",
  ignore,
  async fn() {
    await using replication = await openReplication({ proxied: true, args: ["--compress", "none"] });
    const { source } = replication;
    await Deno.writeFile(`${source}/large`, randomBytes(8 * MiB));
    for (let i = 0; i < 200; i++) await Deno.writeFile(`${source}/medium${i}`, randomBytes(100_000));
    await replication.startWatching(["--limit-rate", "64K"]);
    await waitFor(() => replication.proxy!.bytes.forth > 150_000, {
      what: "the mirror to begin",
      timeoutMs: 30_000,
    });
    const took: number[] = [];
    for (let i = 0; i < 7; i++) {
      const startMs = performance.now();
      await Deno.writeTextFile(`${source}/live${i}`, "live");
      await arrives(replication, `live${i}`);
      took.push(performance.now() - startMs);
    }
    took.sort((a, b) => a - b);
    console.log(`live changes at 64K: ${took[3].toFixed(0)} ms p50, ${took[6].toFixed(0)} ms at most`);
    assert(took[3] < 1_500, `${took} ms`);
    await flow(replication, "--limit-rate", "off");
    await replication.waitForState("live");
    await replication.flush();
    await replication.assertEqual();
  },
});

Deno.test({
  name: "--limit-rate holds for mirror and restore, too, and not for a local target",
  ignore,
  async fn() {
    await using replication = await openReplication({ proxied: true, args: ["--compress", "none"] });
    const { source, directory, proxy } = replication;
    await Deno.writeFile(`${source}/large`, randomBytes(3 * MiB));
    let startMs = performance.now();
    await replication.mirror(["--limit-rate", "1M"]);
    assert(performance.now() - startMs > 2_500, "the mirror");
    const { back } = proxy!.bytes;
    const restoring = replication.restore(`${directory}/back`, ["--limit-rate", "1M"]);
    await waitFor(() => proxy!.bytes.back - back > 100_000, { what: "the restore to begin", intervalMs: 5 });
    startMs = performance.now();
    const already = proxy!.bytes.back;
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    const measured = (proxy!.bytes.back - already) / ((performance.now() - startMs) / 1_000);
    assertWithin(measured, MiB, "a restore at 1M, from its first moment");
    const restored = await restoring;
    assertEquals(restored.code, 0, restored.stderr);

    await using local = await openReplication({ road: "local" });
    await local.watch(["--limit-rate", "1M"]);
    const refused = await local.run(["flow", "--limit-rate", "1M"]);
    assertEquals(refused.code, 1);
    assertStringIncludes(refused.stderr, "it is local, there is no line");
    assertEquals((await local.run(["flow", "--limit-rate", "1K"])).code, 2);
    assertEquals((await local.run(["flow", "--send-when", "soon"])).code, 2);
    assertEquals((await local.run(["flow", "--target", "nobody", "--send-when", "at-once"])).code, 2);
  },
});

Deno.test({
  name: "--send-when: changes gather until their count, age or size, or until somebody flushes",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source } = replication;
    for (let i = 0; i < 50; i++) await Deno.writeTextFile(`${source}/old${i}`, "old");
    await replication.watch(["--send-when", "age=4s"]);
    const startMs = performance.now();
    await Deno.writeTextFile(`${source}/aged`, "1");
    const held = await replication.waitForState("held");
    assertMatch(held.reason, /^gathers until age=4s: \d+ ops, /);
    await arrives(replication, "aged");
    const tookMs = performance.now() - startMs;
    assert(tookMs >= 3_500, `it came after ${tookMs} ms`);
    await replication.waitForState("live");

    await flow(replication, "--send-when", "count=20");
    await Deno.writeTextFile(`${source}/few`, "1");
    await replication.waitForState("held");
    await new Promise((resolve) => setTimeout(resolve, 500));
    assertEquals(await Deno.stat(`${replication.replica}/few`).catch(() => undefined), undefined);
    await replication.flush();
    assert((await Deno.stat(`${replication.replica}/few`)).isFile, "a flush sends it");
    for (let i = 0; i < 30; i++) await Deno.writeTextFile(`${source}/many${i}`, "1");
    await arrives(replication, "many0");

    await flow(replication, "--send-when", "size=200K");
    await replication.flush();
    await Deno.writeTextFile(`${source}/small`, "1");
    await replication.waitForState("held");
    await Deno.writeFile(`${source}/big`, randomBytes(250_000));
    await arrives(replication, "small");

    await replication.stopWatching();
    await replication.watch();
    assertEquals((await flow(replication)).sendWhen, "size=200K", "over restarts");
    await flow(replication, "--send-when", "at-once");
    await replication.flush();
    await replication.assertEqual();
  },
});

Deno.test({
  name:
    "--send-when: a large file that asks the target for hashes, and a verify, do not wait for more to gather",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source } = replication;
    await Deno.writeFile(`${source}/large`, randomBytes(8 * MiB));
    await replication.watch(["--send-when", "size=4M"]);
    for (const name of ["few1", "few2"]) await Deno.writeTextFile(`${source}/${name}`, "1");
    await replication.waitForState("held");
    const later = randomBytes(8 * MiB);
    // Whole at once: what is left of a file that was seen half written may be too little again.
    await Deno.writeFile(`${replication.directory}/later`, later);
    await Deno.rename(`${replication.directory}/later`, `${source}/large`);
    await waitFor(async () => {
      const there = await Deno.readFile(`${replication.replica}/large`);
      return there.length === later.length && there.every((byte, i) => byte === later[i]);
    }, { what: "the large file to arrive", timeoutMs: 20_000, intervalMs: 200 });

    await replication.flush();
    await Deno.writeTextFile(`${source}/another`, "1");
    await replication.waitForState("held");
    // Something to be judged, for which everything that is known must have arrived.
    await Deno.writeTextFile(`${replication.replica}/few1`, "spoilt");
    const verified = await replication.run(["verify", "--repair"]);
    assertStringIncludes(verified.stdout, "few1");
    assertEquals(verified.code, 0, verified.stderr);
    assert((await Deno.stat(`${replication.replica}/another`)).isFile, "it went before the verify");
    await replication.flush();
    await replication.assertEqual();
  },
});

Deno.test({
  name: "--send-when window: outside of its hours nothing is sent, whoever asks",
  ignore,
  async fn() {
    await using replication = await openReplication();
    const { source } = replication;
    await replication.watch();
    // An hour that is not now, in whatever time zone.
    const hour = (new Date().getHours() + 12) % 24;
    const two = (number: number) => `${number}`.padStart(2, "0");
    await flow(replication, "--send-when", `window=${two(hour)}:00-${two((hour + 1) % 24)}:00`);
    await Deno.writeTextFile(`${source}/later`, "1");
    const held = await replication.waitForState("held");
    assertStringIncludes(held.reason, "outside of the hours of window=");
    const flush = await replication.run(["flush", "--timeout", "1s"]);
    assertEquals(flush.code, 1);
    assertStringIncludes(flush.stderr, "outside of the hours");
    const verified = await replication.run(["verify"]);
    assertEquals(verified.code, 1);
    assertStringIncludes(verified.stdout + verified.stderr, "outside of the hours");
    assertEquals(await Deno.stat(`${replication.replica}/later`).catch(() => undefined), undefined);
    await flow(replication, "--send-when", "at-once");
    await arrives(replication, "later");
    await replication.flush();
    await replication.assertEqual();
  },
});
