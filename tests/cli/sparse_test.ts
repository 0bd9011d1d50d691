/**
 * Goal: what is a hole on the source is a hole in the replica and in what is restored from it.
 *
 * Method: contents are compared by `sha256sum`; the room that each file takes is that of `lstat`. A file may take
 * `ROOM_SLACK` more than on the source, for the file system's own bookkeeping. Everything stands on tmpfs, or on an
 * ext4 in an image. About 60 s.
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { assertSameTree } from "../testing/manifest.ts";
import { lacks } from "../testing/needs.ts";
import { runProcess, startProcess } from "../testing/process.ts";
import { openReplication, type Replication } from "../testing/replication.ts";
import { loopMount, type TempDirectory, tmpfsMount } from "../testing/temp.ts";
import { waitFor } from "../testing/wait.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const roads = ["tcp", "local"] as const;
const places: Record<string, () => Promise<TempDirectory>> = {
  tmpfs: () => tmpfsMount({ sizeBytes: 192 * MiB }),
  ext4: () => loopMount({ sizeBytes: 192 * MiB }),
};
const ignore = lacks("linux", "root", "loop devices", "command mkfs.ext4", "command fallocate");

/** Bytes that a copy may take more than its original: two blocks of an extent tree. */
const ROOM_SLACK = 8 * KiB;

/** A sparse file: its size, and the ranges that hold data. */
interface SparseFile {
  size: number;
  data: [start: number, end: number][];
}

const files: Record<string, SparseFile> = {
  dense: { size: 2 * MiB, data: [[0, 2 * MiB]] },
  "hole-first": { size: 2 * MiB, data: [[MiB, 2 * MiB]] },
  "hole-between": { size: 3 * MiB + 77, data: [[0, 300 * KiB], [2 * MiB, 3 * MiB + 77]] },
  "hole-last": { size: 5 * MiB, data: [[0, 40 * KiB]] },
  "all-hole": { size: 4 * MiB + 1, data: [] },
  huge: { size: 16 * MiB, data: [[8 * MiB + 4 * KiB, 8 * MiB + 64 * KiB]] },
  striped: {
    size: 2 * MiB,
    data: Array.from({ length: 32 }, (_, i) => [i * 64 * KiB, i * 64 * KiB + 8 * KiB]),
  },
  "small-all-hole": { size: 200 * KiB, data: [] },
  "small-hole-last": { size: 100_001, data: [[0, 4 * KiB]] },
  "small-hole-first": { size: 70_000, data: [[64 * KiB, 70_000]] },
};

function makeSparseTree(root: string): void {
  for (const directory of ["", "a", "a/b", "a/b/c"]) {
    Deno.mkdirSync(`${root}/${directory}`, { recursive: true });
    for (const [name, file] of Object.entries(files)) makeSparseFile(`${root}/${directory}/${name}`, file);
  }
}

function makeSparseFile(path: string, { size, data }: SparseFile): void {
  using file = Deno.openSync(path, { write: true, createNew: true });
  for (const [start, end] of data) {
    file.seekSync(start, Deno.SeekMode.Start);
    file.writeSync(randomBytes(end - start));
  }
  file.truncateSync(size);
}

function randomBytes(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
}

/** Bytes that each file below a directory takes on its disk. */
function roomOf(root: string, below = ""): Map<string, number> {
  const room = new Map<string, number>();
  for (const { name, isDirectory } of Deno.readDirSync(`${root}/${below}`)) {
    const path = below === "" ? name : `${below}/${name}`;
    if (isDirectory) { for (const [inner, bytes] of roomOf(root, path)) room.set(inner, bytes); }
    else room.set(path, Deno.lstatSync(`${root}/${path}`).blocks! * 512);
  }
  return room;
}

/** Directories of a process's threads. */
function threadsOf(pid: number): string[] {
  return Array.from(Deno.readDirSync(`/proc/${pid}/task`), ({ name }) => `/proc/${pid}/task/${name}`);
}

function isTraced(thread: string): boolean {
  return /^TracerPid:\s+[1-9]/m.test(Deno.readTextFileSync(`${thread}/status`));
}

/** Asserts that a tree has the contents of another, and takes no more room, file by file. */
async function assertSameAndNoRoomier(original: string, copy: string): Promise<void> {
  await assertSameTree(original, copy, { root: true });
  // What is on its way to the disk takes other room than what is there.
  await runProcess("sync", ["-f", original], { expectCode: 0 });
  const copied = roomOf(copy);
  const roomier = [...roomOf(original)].flatMap(([path, bytes]) =>
    copied.get(path)! > bytes + ROOM_SLACK ? [`${path}: ${copied.get(path)} bytes instead of ${bytes}`] : []
  );
  assertEquals(roomier, []);
}

/** Runs shell scripts in the source, one after the other, and compares after each. */
async function live(replication: Replication, scripts: string[]): Promise<void> {
  for (const script of scripts) {
    await runProcess("sh", ["-ec", `cd "$1"; ${script}`, "sh", replication.source], { expectCode: 0 });
    await replication.flush();
    try {
      await assertSameAndNoRoomier(replication.source, replication.replica);
    } catch (error) {
      throw new Error(`Not equal after: ${script}`, { cause: error });
    }
  }
}

for (const [place, mount] of Object.entries(places)) {
  for (const road of roads) {
    Deno.test({
      name: `holes are mirrored and restored by road ${road} on ${place}`,
      ignore,
      async fn() {
        await using disk = await mount();
        await using replication = await openReplication({ road, parent: disk.path });
        makeSparseTree(replication.source);
        const { bytesRead, dataBytes } = await replication.mirror();
        const room = [...roomOf(replication.source).values()].reduce((sum, bytes) => sum + bytes, 0);
        // Small files are read and sent whole.
        assert(
          Math.max(bytesRead, dataBytes) < room + 2 * MiB,
          `${bytesRead} read, ${dataBytes} sent of ${room}`,
        );
        await assertSameAndNoRoomier(replication.source, replication.replica);
        const restored = `${replication.directory}/restored`;
        const { code, stderr } = await replication.restore(restored);
        assertEquals([code, stderr], [0, ""]);
        await assertSameAndNoRoomier(replication.source, restored);
      },
    });
  }
}

/** Both places and both roads, each once: they have nothing to do with one another. */
const pairs: [place: string, road: "tcp" | "local"][] = [["tmpfs", "local"], ["ext4", "tcp"]];

for (const [place, road] of pairs) {
  Deno.test({
    name: `holes that are made, filled and moved while watched arrive by road ${road} on ${place}`,
    ignore,
    async fn() {
      await using disk = await places[place]();
      await using replication = await openReplication({ road, parent: disk.path });
      makeSparseTree(replication.source);
      await replication.watch();
      const write = (path: string, atKiB: number, kib: number) =>
        `dd if=/dev/urandom of=${path} bs=1K seek=${atKiB} count=${kib} conv=notrunc 2>/dev/null`;
      await live(replication, [
        // In the place of data: in the midst of blocks, and nearly all of a file.
        "fallocate -p -o 300K -l 700K a/b/c/dense; fallocate -p -o 4K -l 2000K a/dense",
        "fallocate -p -o 1M -l 512K hole-first; fallocate -p -o 16K -l 16K a/b/hole-last",
        // In the place of zeros that took room.
        "head -c 2000000 /dev/zero >zeros; cp --sparse=never zeros a/zeros",
        "fallocate -d zeros; cp --sparse=always a/zeros new; mv new a/zeros",
        // Small files, too.
        "head -c 200000 /dev/urandom >small; cp small a/small",
        "fallocate -p -o 8K -l 160K small; fallocate -p -o 64K -l 100K a/small",
        // Into holes.
        `${write("all-hole", 1000, 100)}; ${write("a/b/huge", 5, 3)}; ${write("a/striped", 100, 4)}`,
        // Longer by a hole, shorter, and both.
        "truncate -s +3M dense; truncate -s +9M a/hole-last; truncate -s 301K a/b/small-all-hole",
        "truncate -s 1500K hole-between; truncate -s 1K a/hole-first; truncate -s 60K a/b/small-hole-first",
        "truncate -s 100K a/b/c/dense; truncate -s 9M a/b/c/dense; truncate -s 0 a/b/dense; truncate -s 2M a/b/dense",
        `truncate -s +2M a/b/c/hole-last; ${write("a/b/c/hole-last", 7000, 9)}`,
        // A new version by rename, and one that is written anew in place.
        "cp --sparse=always a/b/c/striped new; mv new a/b/c/huge; cp --sparse=always hole-last a/b/c/hole-first",
      ]);
      await replication.stopWatching();
    },
  });
}

Deno.test({
  name: "a file of 10 GiB with 1 MiB of data is mirrored, patched and restored as 1 MiB",
  ignore,
  async fn() {
    await using disk = await places.ext4();
    await using replication = await openReplication({ road: "local", parent: disk.path });
    const { source, replica, directory } = replication;
    const size = 10 * 1024 * MiB;
    makeSparseFile(`${source}/huge`, { size, data: [[size / 2, size / 2 + MiB]] });
    const first = await replication.mirror();
    assertEquals([first.bytesRead, first.dataBytes], [MiB, MiB]);
    await runProcess("fallocate", ["-p", "-o", `${size / 2}`, "-l", `${MiB / 2}`, `${source}/huge`], {
      expectCode: 0,
    });
    const second = await replication.mirror();
    assert(second.bytesRead <= 2 * MiB, `${second.bytesRead} bytes read`);
    assertEquals([second.dataBytes, second.ops.block ?? 0], [0, 0]);
    const { code } = await replication.restore(`${directory}/restored`);
    assertEquals(code, 0);
    for (const copy of [replica, `${directory}/restored`]) {
      const { size: copySize, blocks } = await Deno.lstat(`${copy}/huge`);
      assertEquals(copySize, size);
      assert(blocks! * 512 <= MiB / 2 + ROOM_SLACK, `${blocks} blocks`);
      await runProcess("cmp", [
        "-i",
        `${size / 2 - MiB}`,
        "-n",
        `${3 * MiB}`,
        `${source}/huge`,
        `${copy}/huge`,
      ], {
        expectCode: 0,
      });
    }
  },
});

Deno.test({
  name: "target killed at the n-th hole that it makes in a live file makes all of them when it is back",
  ignore: ignore || lacks("command strace"),
  async fn() {
    await using disk = await places.ext4();
    await using replication = await openReplication({ parent: disk.path });
    const path = `${replication.source}/dense`;
    makeSparseFile(path, { size: 4 * MiB, data: [[0, 4 * MiB]] });
    await replication.watch();
    await replication.flush();
    for (const n of [1, 2, 3]) {
      const { process } = replication.server;
      const injection = `inject=fallocate:signal=KILL:when=${n}`;
      const strace = ["-f", "-qqq", "-o", "/dev/null", "-p", `${process.pid}`, "-e", injection];
      await using tracing = startProcess("strace", strace);
      await waitFor(() => threadsOf(process.pid).every(isTraced), { what: "strace" });
      const holes = [0, 1, 2].map((i) => `-o ${n * MiB + i * 300 * KiB} -l ${100 * KiB}`);
      const punches = holes.map((hole) => `fallocate -p ${hole} "$1"`).join("; ");
      await runProcess("sh", ["-ec", punches, "sh", path], { expectCode: 0 });
      await waitFor(() => !process.running, { what: "the target's end", timeoutMs: 20_000 });
      await process.ended();
      tracing.kill("SIGTERM");
      await tracing.ended();
      await replication.startServer();
      await replication.flush();
      await assertSameAndNoRoomier(replication.source, replication.replica);
    }
  },
});
