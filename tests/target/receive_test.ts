import { assert, assertEquals, assertThrows } from "@std/assert";
import type { Accounts } from "../../src/base/accounts.ts";
import { CorruptionError, ProtocolError, TransientError } from "../../src/base/errors.ts";
import { limits } from "../../src/base/limits.ts";
import { initHasher } from "../../src/mirror/signature.ts";
import { type Op, opKinds } from "../../src/ops/op.ts";
import { systemFileSystem } from "../../src/sys/system.ts";
import { Receiver } from "../../src/target/receive.ts";
import { readReplicaAccounts } from "../../src/target/replica.ts";
import { type Call, faultyFileSystem, Trouble } from "../testing/faulty_file_system.ts";
import { lacks } from "../testing/needs.ts";
import {
  file,
  Harness,
  mkdir,
  opsMessage,
  plain,
  rename,
  snapshot,
  symlink,
  transfer,
} from "../testing/receiver.ts";
import { tempDirectory, tmpfsMount } from "../testing/temp.ts";

await initHasher();

/** A harness in a directory of its own, which has begun its stream. */
async function started(): Promise<Harness & AsyncDisposable & { live: string; directory: string }> {
  const directory = await tempDirectory();
  const harness = new Harness({ directory: directory.path });
  harness.hello();
  return Object.assign(harness, {
    live: `${directory.path}/live`,
    directory: directory.path,
    async [Symbol.asyncDispose]() {
      harness[Symbol.dispose]();
      await directory[Symbol.asyncDispose]();
    },
  });
}

function read(path: string): string {
  return Deno.readTextFileSync(path);
}

Deno.test("Receiver applies each kind of op, and counts it", async () => {
  await using h = await started();
  const owner = { mode: 0o4751, uid: 1234, gid: 5678, mtimeNs: 1_234_567_890_123_456_789n };
  const failures = h.apply(
    mkdir("d", { ...owner, mode: 0o2770 }),
    file("d/f", "whole", owner),
    symlink("d/l", "../anywhere\udcff"),
    ...transfer(1, "big", { blocks: [[4, "5678"], [0, "1234"], [1, 1]], size: 6 }),
    { kind: "open", transfer: 2, path: "never", base: "empty" },
    { kind: "abandon", transfer: 2 },
    file("gone", ""),
    { kind: "unlink", path: "gone" },
    mkdir("e"),
    { kind: "rmdir", path: "e" },
    { kind: "node", path: "d/null", node: "character", device: "1:3", attributes: { mode: 0o666 } },
    rename("big", "d/big"),
    { kind: "link", path: "d/f", to: "d/again" },
    { kind: "attributes", path: "d/big", attributes: { mode: 0o600, uid: 1, gid: 2, mtimeNs: -5n } },
    { kind: "attributes", path: "", attributes: { mode: 0o711, mtimeNs: 99n } },
  );
  assertEquals(failures, []);
  using tree = systemFileSystem().openTree(h.live);
  const { mode, uid, gid, mtimeNs } = tree.stat("d/f")!;
  assertEquals({ mode, uid, gid, mtimeNs }, owner);
  assertEquals(tree.stat("d")!.mode, 0o2770);
  assertEquals(tree.stat("d")!.mtimeNs, owner.mtimeNs);
  assertEquals(tree.readLink("d/l"), "../anywhere\udcff");
  assertEquals(read(`${h.live}/d/big`), "1\x003456");
  assertEquals(tree.stat("d/again")!.ino, tree.stat("d/f")!.ino);
  const { kind, device, mode: nodeMode } = tree.stat("d/null")!;
  assertEquals({ kind, device, nodeMode }, { kind: "character", device: "1:3", nodeMode: 0o666 });
  assertEquals(tree.stat("d/big")!.mtimeNs, -5n);
  assertEquals([tree.stat("")!.mode, tree.stat("")!.mtimeNs], [0o711, 99n]);
  assertEquals(tree.list("").map(({ name }) => name), ["d"]);
  assertEquals(h.staged(), []);
  const stats = h.replica.stats.snapshot();
  const expected = {
    ...Object.fromEntries(opKinds.map((kind) => [kind, 1])),
    file: 2,
    open: 2,
    block: 2,
    mkdir: 2,
  };
  assertEquals(stats.opsReceived, { ...expected, attributes: 2 } as typeof stats.opsReceived);
  assertEquals([stats.dataBytes, stats.errors, stats.lastDurableSequence], [13, 0, 19]);
});

Deno.test("Receiver skips ops that it has, refuses a gap, and acks in order", async () => {
  await using h = await started();
  h.apply(file("a", "1"), file("b", "2"));
  h.receiver.handle(opsMessage(1, [file("a", "other"), file("b", "other"), file("c", "3")]));
  h.receiver.flush();
  assertEquals([read(`${h.live}/a`), read(`${h.live}/c`)], ["1", "3"]);
  assertEquals(h.last("ack").sequence, 3);
  assertEquals(h.replica.stats.snapshot().opsReceived.file, 3);
  assertThrows(() => h.receiver.handle(opsMessage(5, [file("d", "")])), ProtocolError, "4 is next");
});

Deno.test("Receiver refuses what may not come: ops before hello or begin, a second hello, a receiver's message", async () => {
  await using directory = await tempDirectory();
  using h = new Harness({ directory: directory.path });
  assertThrows(() => h.receiver.handle(opsMessage(1, [file("a", "")])), ProtocolError, "no hello");
  const hello = { streamId: "other", replicaId: h.replica.replicaId, indexedSequence: 0, agent: "" };
  h.receiver.handle({ type: "hello", hello });
  assertThrows(() => h.receiver.handle(opsMessage(1, [file("a", "")])), ProtocolError, "not begun");
  assertThrows(() => h.receiver.handle({ type: "hello", hello }), ProtocolError, "came before");
  assertThrows(() => h.receiver.handle({ type: "begin", streamId: "" }), ProtocolError, "no identity");
  assertThrows(
    () => h.receiver.handle({ type: "ack", sequence: 1, failures: [] }),
    ProtocolError,
    "not for a receiver",
  );
});

Deno.test("Receiver tells each failing op with its errno, and does those around it", async () => {
  await using h = await started();
  h.apply(mkdir("dir"), file("dir/inside", "x"), file("file", "x"));
  const failures = h.apply(
    file("dir", "no"),
    symlink("dir", "no"),
    ...transfer(1, "dir", { blocks: [[0, "no"]], size: 2 }),
    mkdir("file"),
    file("missing/f", "no"),
    rename("absent", "nowhere"),
    { kind: "attributes", path: "absent", attributes: plain },
    { kind: "unlink", path: "dir" },
    { kind: "rmdir", path: "dir" },
    { kind: "rmdir", path: "file" },
    file("n".repeat(300), "no"),
    { kind: "close", transfer: 77, path: "x", size: 0, attributes: plain },
    file(".understudy/x", "no"),
    rename("file", ".understudy"),
    file("fine", "yes"),
  );
  assertEquals(failures.map(({ sequence, op, code }) => `${sequence} ${op} ${code}`), [
    ...["4 file EISDIR", "5 symlink EISDIR", "8 close EISDIR", "9 mkdir EEXIST", "10 file ENOENT"],
    ...[
      "11 rename ENOENT",
      "12 attributes ENOENT",
      "13 unlink EISDIR",
      "14 rmdir ENOTEMPTY",
      "15 rmdir ENOTDIR",
    ],
    ...["16 file ENAMETOOLONG", "17 close EBADF", "18 file EPERM", "19 rename EPERM"],
  ]);
  assert(failures.every(({ reason }) => reason.startsWith("Cannot ")), "each says why");
  assertEquals(read(`${h.live}/fine`), "yes");
  assertEquals(h.staged(), []);
  assertEquals(h.replica.stats.snapshot().errors, 14);
});

Deno.test("Receiver takes removals of what is absent as done", async () => {
  await using h = await started();
  assertEquals(h.apply(file("f", ""), { kind: "unlink", path: "a" }, { kind: "unlink", path: "f/a" }), []);
  assertEquals(h.apply({ kind: "rmdir", path: "a/b/c" }, mkdir("d"), mkdir("d")), []);
});

Deno.test("a transfer that fails ignores its blocks and tells it once, at its close", async () => {
  await using h = await started();
  h.apply(mkdir("d"));
  const copy = transfer(1, "absent", { base: "copy", blocks: [[0, "a"], [1, "b"]], size: 2 });
  const patch = transfer(2, "absent too", { base: "patch", blocks: [[0, "a"]], size: 2 });
  const copyOfDirectory = transfer(3, "d", { base: "copy", blocks: [], size: 2 });
  const failures = h.apply(...copy, ...patch, ...copyOfDirectory);
  assertEquals(failures.map(({ op, path, code }) => `${op} ${path} ${code}`), [
    "close absent ENOENT",
    "close absent too ENOENT",
    "close d EISDIR",
  ]);
  assertEquals(h.staged(), []);
});

Deno.test(`a transfer beyond the ${limits.openTransfersMax} that may be open fails, the others go on`, async () => {
  await using h = await started();
  const ids = Array.from({ length: limits.openTransfersMax + 1 }, (_, i) => i + 1);
  h.apply(...ids.map((id): Op => ({ kind: "open", transfer: id, path: `f${id}`, base: "empty" })));
  assertEquals(h.staged().length, limits.openTransfersMax);
  const failures = h.apply(
    ...ids.map((id): Op => ({ kind: "close", transfer: id, path: `f${id}`, size: 3, attributes: plain })),
  );
  assertEquals(failures.map(({ path }) => path), [`f${limits.openTransfersMax + 1}`]);
  assertEquals(h.staged(), []);
});

Deno.test("a transfer goes on after a clean stop, is replaced by an open of its id, and dropped by a new stream", async () => {
  await using directory = await tempDirectory();
  const block = (offset: number, data: string): Op => ({
    kind: "block",
    transfer: 1,
    offset,
    data: new TextEncoder().encode(data),
  });
  {
    using h = new Harness({ directory: directory.path });
    h.hello();
    h.apply({ kind: "open", transfer: 1, path: "f", base: "empty" }, block(0, "before "));
    h.apply({ kind: "open", transfer: 2, path: "g", base: "empty" });
  }
  {
    using h = new Harness({ directory: directory.path });
    assertEquals(h.hello().welcome.compareAll, false);
    h.apply({ kind: "open", transfer: 2, path: "g", base: "empty" });
    assertEquals(h.staged().length, 2);
    h.apply(block(7, "after"), { kind: "close", transfer: 1, path: "f", size: 12, attributes: plain });
    assertEquals(read(`${directory.path}/live/f`), "before after");
    assertEquals(h.staged().length, 1);
  }
  using h = new Harness({ directory: directory.path });
  assertEquals(h.hello("another").welcome.streamId, "stream");
  assertEquals([h.staged(), h.replica.durableSequence], [[], 0]);
});

Deno.test("a patch changes the live file in place: same inode, changed ranges, size and attributes", async () => {
  await using h = await started();
  h.apply(file("f", "0123456789"));
  const before = Deno.lstatSync(`${h.live}/f`).ino;
  h.apply(...transfer(1, "f", { base: "patch", blocks: [[2, "AB"], [8, "CDEF"]], size: 11 }));
  assertEquals(read(`${h.live}/f`), "01AB4567CDE");
  assertEquals(Deno.lstatSync(`${h.live}/f`).ino, before);
  h.apply(...transfer(2, "f", { base: "copy", blocks: [[0, "Z"]], size: 3 }));
  assertEquals(read(`${h.live}/f`), "Z1A");
  h.apply(...transfer(3, "f", { base: "copy", blocks: [[1, 1]], size: 3 }));
  assertEquals(read(`${h.live}/f`), "Z\0A");
  h.apply(...transfer(4, "f", { base: "empty", blocks: [[1, "A"], [0, 8], [3, "B"]], size: 5 }));
  assertEquals(read(`${h.live}/f`), "\0\0\0B\0");
  assertEquals(h.staged(), []);
});

Deno.test("directories keep their times while entries come and go, unless an op names them", async () => {
  await using h = await started();
  const time = (n: number) => ({ mode: 0o755, mtimeNs: BigInt(n) * 1_000_000_000n + 7n });
  h.apply(mkdir("a", time(1)), mkdir("a/b", time(2)), mkdir("c", time(3)), file("a/old", ""));
  h.apply({ kind: "attributes", path: "", attributes: time(4) });
  h.apply(
    file("a/b/f", "x"),
    { kind: "unlink", path: "a/old" },
    rename("a/b/f", "c/f"),
    mkdir("a/new", time(5)),
    file("a/new/f", ""),
    { kind: "attributes", path: "c", attributes: time(6) },
    file("c/g", ""),
    symlink("l", "x"),
  );
  using tree = systemFileSystem().openTree(h.live);
  const times = ["", "a", "a/b", "a/new", "c"].map((path) =>
    Number(tree.stat(path)!.mtimeNs / 1_000_000_000n)
  );
  assertEquals(times, [4, 1, 2, 5, 6]);
});

Deno.test("ops through a symbolic link that leads out of the replica fail and change nothing outside", async () => {
  await using h = await started();
  const outside = `${h.directory}/outside`;
  Deno.mkdirSync(`${outside}/dir`, { recursive: true });
  Deno.writeTextFileSync(`${outside}/canary`, "alive");
  const before = snapshot(outside);
  h.apply(mkdir("d"), symlink("out", outside), symlink("canary", `${outside}/canary`), symlink("up", ".."));
  const failures = h.apply(
    file("out/canary", "dead"),
    file("up/outside/canary", "dead"),
    mkdir("out/new"),
    { kind: "unlink", path: "out/canary" },
    { kind: "rmdir", path: "out/dir" },
    rename("out/canary", "stolen"),
    rename("d", "out/d"),
    { kind: "attributes", path: "out/canary", attributes: { mode: 0 } },
    ...transfer(1, "out/canary", { base: "copy", blocks: [[0, "d"]], size: 1 }),
    ...transfer(2, "canary", { base: "patch", blocks: [[0, "d"]], size: 1 }),
    symlink("out/link", "x"),
  );
  assertEquals(failures.length, 11);
  assertEquals(snapshot(outside), before);
  // A link itself may be changed and replaced; what it leads to is not touched.
  assertEquals(h.apply({ kind: "attributes", path: "canary", attributes: { mode: 0, mtimeNs: 1n } }), []);
  assertEquals(h.apply(file("canary", "a file now")), []);
  assertEquals(snapshot(outside), before);
  const [listing] = h.ask({ type: "list", request: 1, path: "out/canary", recursive: false });
  assert(
    listing.type === "listing" && listing.entries.length === 0 && listing.problem !== "",
    "nothing is shown",
  );
  const [signature] = h.ask({ type: "sign", request: 2, path: "up", blockSize: 512, start: 0, end: 512 });
  assert(signature.type === "signature" && signature.fileSize === -1, "nothing is hashed");
});

Deno.test("Receiver tells touched paths and failures since the index was saved, until it is told they are known", async () => {
  await using directory = await tempDirectory();
  {
    using h = new Harness({ directory: directory.path });
    h.hello();
    h.apply(file("a", ""), mkdir("d"), rename("d", "e"), file("missing/x", ""), file("b\udc80", ""));
  }
  const asked = (indexedSequence: number) => {
    using h = new Harness({ directory: directory.path });
    h.hello("stream", indexedSequence);
    const touched = h.sent.flatMap((message) => message.type === "touched" ? message.entries : []);
    const failures = h.sent.flatMap((message) => message.type === "ack" ? message.failures : []);
    assertEquals(h.last("touched").last, true);
    return [
      touched.map(({ path, recursive }) => `${path}${recursive ? "/**" : ""}`),
      failures.map(({ path }) => path),
    ];
  };
  assertEquals(asked(0), [["a", "b\udc80", "d/**", "e/**", "missing/x"], ["missing/x"]]);
  assertEquals(asked(3), [["b\udc80", "missing/x"], ["missing/x"]]);
  assertEquals(asked(5), [[], []]);
  {
    using h = new Harness({ directory: directory.path });
    h.hello();
    h.receiver.handle({ type: "indexed", sequence: 4 });
    h.apply(file("c", ""));
  }
  assertEquals(asked(0), [["b\udc80", "c"], []]);
});

Deno.test("Receiver tells no touched paths to a sender of another stream, which asks for everything anyway", async () => {
  await using directory = await tempDirectory();
  using first = new Harness({ directory: directory.path });
  first.hello();
  first.apply(file("a", ""), file("missing/x", ""));
  first[Symbol.dispose]();
  using h = new Harness({ directory: directory.path });
  h.hello("another");
  assertEquals(h.sent.filter(({ type }) => type === "touched"), [{
    type: "touched",
    entries: [],
    last: true,
  }]);
  assertEquals(h.sent.filter(({ type }) => type === "ack"), []);
});

Deno.test("welcome asks to compare everything after an unclean stop or another root, until that is done", async () => {
  await using directory = await tempDirectory();
  const welcomed = (act: (h: Harness) => void = () => {}) => {
    const h = new Harness({ directory: directory.path });
    const { compareAll } = h.hello().welcome;
    act(h);
    return { compareAll, h };
  };
  const stop = (h: Harness) => h[Symbol.dispose]();
  stop(welcomed((h) => h.apply(file("a", ""))).h);
  const clean = welcomed();
  assertEquals(clean.compareAll, false);
  clean.h.apply(file("b", ""));
  clean.h.replica.release();
  const unclean = welcomed();
  assertEquals(unclean.compareAll, true);
  stop(unclean.h);
  const still = welcomed();
  assertEquals(still.compareAll, true);
  still.h.receiver.handle({ type: "compared" });
  stop(still.h);
  stop(welcomed().h);
  // A backup was put back, or the disk is another one.
  Deno.renameSync(`${directory.path}/live`, `${directory.path}/moved`);
  const another = welcomed();
  assertEquals(another.compareAll, true);
  stop(another.h);
});

Deno.test("an ack whose failures do not fit one message comes in several, each up to its last failure", async () => {
  await using h = await started();
  const from = h.sent.length;
  const long = `missing/${"n".repeat(4_000)}`;
  h.apply(...[...Array(300).keys()].map((i) => file(`${long}${i}`, "")));
  const acks = h.sent.slice(from).filter((message) => message.type === "ack");
  assert(acks.length > 1, "they did not fit");
  for (const ack of acks.slice(0, -1)) assertEquals(ack.sequence, ack.failures.at(-1)!.sequence);
  assertEquals(acks.at(-1)!.sequence, 300);
  assertEquals(acks.flatMap(({ failures }) => failures.map(({ sequence }) => sequence)), [
    ...Array(300).keys().map((i) => i + 1),
  ]);
});

Deno.test("a group is written in the order that crash safety asks for", async () => {
  await using directory = await tempDirectory();
  const log: string[] = [];
  const note = ({ method, root, path }: Call) => {
    const place = root.endsWith("/live") ? "live" : "staging";
    if (["sync", "syncDirectory", "rename", "write", "unlink"].includes(method)) {
      log.push(`${place} ${method} ${place === "live" ? path || "." : path.slice(0, 1) || "."}`);
    }
  };
  const fileSystem = faultyFileSystem(systemFileSystem(), { after: note });
  using h = new Harness({
    directory: directory.path,
    fileSystem,
    onSend: ({ type }) => log.push(type),
  });
  h.hello();
  h.apply(file("p", "patched"));
  const { catalog } = h.replica;
  for (const method of ["announce", "record"] as const) {
    const original = catalog[method].bind(catalog) as (argument: unknown) => void;
    Object.assign(catalog, {
      [method](argument: unknown) {
        original(argument);
        log.push(`catalog ${method}`);
      },
    });
  }
  log.length = 0;
  h.apply(mkdir("d"), file("d/f", "x"), ...transfer(1, "p", { base: "patch", blocks: [[0, "P"]], size: 7 }));
  assertEquals(log, [
    ...["staging write f", "staging write p", "staging write p", "staging write p"],
    ...["staging sync f", "staging sync p", "staging syncDirectory .", "catalog announce"],
    ...["staging rename f", "live write p", "live sync p"],
    ...["live syncDirectory .", "live syncDirectory d", "catalog record"],
    ...["staging unlink p", "ack"],
  ]);
});

Deno.test("a removed root blocks instead of failing every op", async () => {
  await using h = await started();
  Deno.removeSync(h.live, { recursive: true });
  h.apply(file("a", ""));
  assert(h.receiver.blockedReason.includes("root directory is gone"), h.receiver.blockedReason);
  assertEquals(h.replica.stats.snapshot().blockedReason, h.receiver.blockedReason);
});

/** A receiver that was greeted, on a disk that the test can fill. */
function onFillableDisk(directory: string): { h: Harness; disk: { isFull: boolean } } {
  const disk = { isFull: false };
  const fileSystem = faultyFileSystem(systemFileSystem(), new Trouble("ENOSPC", () => disk.isFull));
  const h = new Harness({ directory, fileSystem });
  h.hello();
  return { h, disk };
}

Deno.test("questions wait while the machine is in trouble, and show every op before them", async () => {
  await using directory = await tempDirectory();
  const { h: opened, disk } = onFillableDisk(directory.path);
  using h = opened;
  disk.isFull = true;
  h.gather(file("a", "now there"));
  assertEquals(h.ask({ type: "list", request: 1, path: "a", recursive: false }).map(({ type }) => type), [
    "blocked",
  ]);
  disk.isFull = false;
  h.receiver.flush();
  const from = h.sent.length;
  while (h.receiver.hasWork) h.receiver.work();
  const [listing] = h.sent.slice(from);
  assert(listing.type === "listing" && listing.entries[0].size === 9, "the file is listed");
});

Deno.test("a session that ends while the disk is full forgets what is not durable; the next one goes on", async () => {
  await using directory = await tempDirectory();
  const { h: opened, disk } = onFillableDisk(directory.path);
  using h = opened;
  h.apply(file("a", "1"));
  disk.isFull = true;
  h.apply(file("b", "2"));
  h.receiver.closeSession();
  assertEquals(h.hello().welcome.durableSequence, 1);
  assertEquals(h.sent.slice(-2).map(({ type }) => type), ["welcome", "blocked"]);
  disk.isFull = false;
  h.receiver.flush();
  while (h.receiver.hasWork) h.receiver.work();
  assertEquals(h.last("touched").last, true);
  assertEquals(h.apply(file("b", "2")), []);
  assertEquals(h.staged(), []);
});

Deno.test("trouble that a message cannot wait out ends the session as worth trying again", async () => {
  await using directory = await tempDirectory();
  let isBroken = false;
  const trouble = new Trouble("EIO", ({ method }) => isBroken && method === "unlink");
  const fileSystem = faultyFileSystem(systemFileSystem(), trouble);
  using h = new Harness({ directory: directory.path, fileSystem });
  h.hello();
  h.apply({ kind: "open", transfer: 1, path: "f", base: "empty" });
  isBroken = true;
  assertThrows(() => h.receiver.handle({ type: "begin", streamId: "another" }), TransientError);
  isBroken = false;
  h.receiver.closeSession();
  assertEquals(h.hello("another").welcome.streamId, "another");
  assertEquals(h.staged(), []);
});

Deno.test("a held receiver applies, acks and answers nothing, says why, and then does all of it", async () => {
  await using h = await started();
  h.gather(file("a", "before"));
  assertEquals(h.receiver.hold("kept"), "");
  assertEquals(read(`${h.live}/a`), "before");
  assertEquals(h.last("blocked").reason, "kept");
  const from = h.sent.length;
  h.apply(file("a", "after"), { kind: "unlink", path: "b" });
  assertEquals(h.receiver.hold("kept"), "", "a second hold");
  assertEquals(h.ask({ type: "list", request: 1, path: "a", recursive: false }), []);
  assertEquals([read(`${h.live}/a`), h.replica.durableSequence, h.sent.length], ["before", 1, from]);
  assertEquals(h.replica.stats.snapshot().blockedReason, "kept");
  h.receiver.release();
  h.receiver.flush();
  while (h.receiver.hasWork) h.receiver.work();
  assertEquals([read(`${h.live}/a`), h.replica.durableSequence], ["after", 3]);
  assertEquals(h.sent.slice(from).map(({ type }) => type), ["blocked", "ack", "listing"]);
  assertEquals(h.replica.stats.snapshot().blockedReason, "");
});

Deno.test("a session that begins under a hold is welcomed and waits; one that ends under it changes nothing", async () => {
  await using directory = await tempDirectory();
  using h = new Harness({ directory: directory.path, heldReason: "kept" });
  h.receiver.handle({
    type: "hello",
    hello: { streamId: "", replicaId: "", indexedSequence: 0, agent: "test" },
  });
  while (h.receiver.hasWork) h.receiver.work();
  assertEquals(h.sent.map(({ type }) => type), ["welcome", "blocked"]);
  h.receiver.release();
  h.receiver.flush();
  while (h.receiver.hasWork) h.receiver.work();
  assertEquals(h.sent.slice(2).map(({ type }) => type), ["blocked", "touched"]);
  h.receiver.handle({ type: "begin", streamId: "stream" });
  assertEquals(h.receiver.hold("kept"), "");
  h.gather(file("a", "1"));
  h.receiver.closeSession();
  assertEquals([...Deno.readDirSync(`${directory.path}/live`)], []);
  assertEquals(h.replica.durableSequence, 0);
});

Deno.test("a receiver that the machine's trouble blocks cannot be held, and says why", async () => {
  await using directory = await tempDirectory();
  const { h: opened, disk } = onFillableDisk(directory.path);
  using h = opened;
  disk.isFull = true;
  h.gather(file("a", "1"));
  assert(h.receiver.hold("kept").includes("ENOSPC"));
  disk.isFull = false;
  h.receiver.flush();
  assertEquals(read(`${directory.path}/live/a`), "1");
});

Deno.test({
  name: "a real disk that fills up blocks, keeps every live file whole, and goes on when it has room",
  ignore: lacks("linux", "root"),
  async fn() {
    await using mount = await tmpfsMount({ sizeBytes: 4 * 1024 * 1024 });
    using h = new Harness({ directory: mount.path });
    h.hello();
    Deno.writeFileSync(`${mount.path}/ballast`, new Uint8Array(1_700_000));
    const data = crypto.getRandomValues(new Uint8Array(60_000));
    const ops = [...Array(25).keys()].map((i) => file(`f${i}`, data));
    h.apply(...ops);
    assert(h.receiver.blockedReason.includes("ENOSPC"), h.receiver.blockedReason);
    for (const { name } of Deno.readDirSync(`${mount.path}/live`)) {
      assertEquals(Deno.lstatSync(`${mount.path}/live/${name}`).size, 60_000, name);
    }
    const done = h.replica.durableSequence;
    assert(done >= 10 && done < 25, `${done} fit`);
    h.receiver.flush();
    assertEquals(h.replica.durableSequence, done);
    Deno.removeSync(`${mount.path}/ballast`);
    h.receiver.flush();
    assertEquals([h.receiver.blockedReason, h.replica.durableSequence], ["", 25]);
    for (let i = 0; i < 25; i++) assertEquals(Deno.readFileSync(`${mount.path}/live/f${i}`), data);
    assertEquals(h.staged(), []);
    assertEquals(h.replica.stats.snapshot().errors, 0);
    const blocked = h.sent.filter((message) => message.type === "blocked").map(({ reason }) => reason !== "");
    assertEquals(blocked, [true, false]);
  },
});

/** Accounts of a source with one user. */
function accountsOf(name: string): Accounts {
  const user = { name, uid: 1000, gid: 1000, gecos: "", home: "/", shell: "/bin/sh" };
  return {
    machine: "m",
    at: "2026-01-01T00:00:00.000Z",
    users: [user],
    groups: [],
    unknownUids: [],
    unknownGids: [],
  };
}

Deno.test("accounts are kept durably in place of those before, and survive another stream", async () => {
  await using h = await started();
  const places = { stateDirectory: `${h.directory}/state` };
  assertEquals([h.last("welcome").welcome.accounts, readReplicaAccounts(places)], [true, undefined]);
  h.receiver.handle({ type: "accounts", accounts: accountsOf("anna") });
  h.receiver.flush();
  h.receiver.handle({ type: "accounts", accounts: accountsOf("bert") });
  h.apply(file("a", ""));
  // Read by another connection, while the replica is open.
  assertEquals(readReplicaAccounts(places), accountsOf("bert"));
  assertEquals(h.replica.stats.snapshot().accounts, { users: 1, groups: 0, at: accountsOf("bert").at });
  h.receiver.handle({ type: "begin", streamId: "another" });
  assertEquals(h.replica.catalog.accounts, accountsOf("bert"));
});

Deno.test("accounts wait while the replica is held, and are known before the ops behind them", async () => {
  await using directory = await tempDirectory();
  using h = new Harness({ directory: directory.path });
  const seen: string[] = [];
  const receiver = new Receiver(h.replica, {
    agent: "test",
    send: () => {},
    onAccounts: ({ users }) => seen.push(`${users[0].name} before ${h.replica.durableSequence + 1}`),
  });
  receiver.handle({ type: "hello", hello: { streamId: "s", replicaId: "", indexedSequence: 0, agent: "" } });
  receiver.handle({ type: "begin", streamId: "s" });
  receiver.hold("kept");
  receiver.handle({ type: "accounts", accounts: accountsOf("anna") });
  receiver.handle(opsMessage(1, [file("a", "")]));
  receiver.flush();
  assertEquals([seen, h.replica.catalog.accounts], [[], undefined]);
  receiver.release();
  receiver.flush();
  assertEquals([seen, h.replica.durableSequence], [["anna before 1"], 1]);
});

Deno.test("accounts in a catalog that are none are said to be damaged", async () => {
  await using h = await started();
  const broken = { ...accountsOf("anna"), groups: [{ name: "-g", gid: 1, members: [] }] };
  h.replica.catalog.setAccounts(broken);
  assertThrows(
    () => readReplicaAccounts({ stateDirectory: `${h.directory}/state` }),
    CorruptionError,
    "accounts",
  );
});
