import { assert, assertEquals, assertThrows } from "@std/assert";
import { SystemError } from "../../src/base/errors.ts";
import { errnoName } from "../../src/sys/errno.ts";
import {
  addressOf,
  AT,
  errno,
  lastError,
  libc,
  O,
  pageAligned,
  PathBuffer,
  POLL,
} from "../../src/sys/libc.ts";
import { systemFileSystem } from "../../src/sys/system.ts";

const ignore = systemFileSystem().name !== "linux";
if (ignore) console.log("libc not tested: it cannot be used here");

Deno.test("errnoName() knows Linux's numbers and invents none", () => {
  const known: [number, string][] = [
    [1, "EPERM"],
    [2, "ENOENT"],
    [18, "EXDEV"],
    [28, "ENOSPC"],
    [40, "ELOOP"],
    [61, "ENODATA"],
    [84, "EILSEQ"],
    [95, "ENOTSUP"],
    [110, "ETIMEDOUT"],
    [122, "EDQUOT"],
    [133, "EHWPOISON"],
    [41, "E41"],
    [58, "E58"],
    [0, "E0"],
    [134, "E134"],
  ];
  for (const [number, name] of known) assertEquals(errnoName(number), name);
});

Deno.test("lastError() names what a failed call left", { ignore }, () => {
  const path = new PathBuffer();
  assertEquals(libc().openat(AT.FDCWD, path.put("/nothing/there"), O.RDONLY, 0), -1);
  assertEquals(errno(), 2);
  assertEquals(
    lastError("open", "/nothing/there").message,
    'Cannot open "/nothing/there": it does not exist (ENOENT)',
  );
});

Deno.test("pageAligned() begins on a page and has the size asked for", { ignore }, () => {
  for (const size of [0, 1, 4096, 1_000_001]) {
    const bytes = pageAligned(size);
    assertEquals([bytes.length, size === 0 ? 0 : addressOf(bytes) % 4096], [size, 0]);
  }
});

Deno.test("PathBuffer keeps raw bytes, grows and refuses a NUL", { ignore }, () => {
  const buffer = new PathBuffer(8);
  const read = (address: number) =>
    new Uint8Array(new Deno.UnsafePointerView(Deno.UnsafePointer.create(BigInt(address))!).getArrayBuffer(6));
  assertEquals(read(buffer.put("a\udcffb")).subarray(0, 4), Uint8Array.of(0x61, 0xff, 0x62, 0));
  assertEquals(read(buffer.put("ü".repeat(500))).subarray(0, 2), Uint8Array.of(0xc3, 0xbc));
  assertEquals(assertThrows(() => buffer.put("a\0b"), SystemError).code, "EINVAL");
});

Deno.test("pollLater() waits on another thread until an eventfd is written", { ignore }, async () => {
  const { eventfd, pollLater, write, close } = libc();
  const event = eventfd(0, O.NONBLOCK | O.CLOEXEC);
  assert(event >= 0);
  const pollfd = new Uint8Array(256);
  const view = new DataView(pollfd.buffer);
  view.setInt32(0, event, true);
  view.setInt16(4, POLL.IN, true);
  const ready = pollLater(addressOf(pollfd), 1, 10_000);
  assertEquals(write(event, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0), 8), 8);
  assertEquals(await ready, 1);
  assertEquals(view.getInt16(6, true), POLL.IN);
  close(event);
});

Deno.test("errno() of a Worker is its own", { ignore }, async () => {
  const worker = new Worker(new URL("./errno_worker.ts", import.meta.url), { type: "module" });
  const answer = new Promise<{ wrong: number }>((resolve) => worker.onmessage = ({ data }) => resolve(data));
  const path = new PathBuffer();
  let wrong = 0, answered = false;
  answer.then(() => answered = true);
  // The Worker fails with ENOTDIR all the while, this thread with ENOENT.
  while (!answered) {
    for (let i = 0; i < 1_000; i++) {
      if (libc().openat(AT.FDCWD, path.put("/nothing"), O.RDONLY, 0) !== -1 || errno() !== 2) wrong++;
    }
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  assertEquals([wrong, (await answer).wrong], [0, 0]);
  worker.terminate();
});
