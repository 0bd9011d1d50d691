import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { yieldToEvents } from "../../src/base/clock.ts";
import { ProtocolError, TransientError } from "../../src/base/errors.ts";
import { limits } from "../../src/base/limits.ts";
import { Requests } from "../../src/source/requests.ts";
import type { ListedEntry, Message } from "../../src/wire/message.ts";

const range = { blockSize: 4096, start: 0, end: 4096 };
const hashes = new Uint8Array(16);

function entry(path: string): ListedEntry {
  return { path, kind: "file", mode: 0o644, uid: 0, gid: 0, size: 1, mtimeNs: 1n, linkTarget: "" };
}

function listing(request: number, entries: ListedEntry[], last: boolean, problem = "") {
  return { type: "listing" as const, request, entries, last, problem };
}

function connected(): { requests: Requests; posted: Message[] } {
  const posted: Message[] = [];
  const requests = new Requests((message) => posted.push(message));
  requests.connect();
  return { requests, posted };
}

Deno.test("list() gives each part as it comes and ends with the last, with the first problem", async () => {
  const { requests, posted } = connected();
  const parts: string[][] = [];
  const listed = requests.list("d", true, (entries) => parts.push(entries.map(({ path }) => path)));
  assertEquals(posted, [{ type: "list", request: 1, path: "d", recursive: true }]);
  requests.take(listing(1, [entry("d/a"), entry("d/b")], false));
  requests.take(listing(1, [], false, "unreadable"));
  requests.take(listing(1, [entry("d/c")], true, "also"));
  assertEquals(await listed, "unreadable");
  assertEquals(parts, [["d/a", "d/b"], [], ["d/c"]]);
  assertThrows(() => requests.take(listing(1, [], true)), ProtocolError, "nobody asked");
});

Deno.test("answers find their questions in any order", async () => {
  const { requests } = connected();
  const first = requests.sign("a", range);
  const second = requests.list("b", false, () => {});
  const third = requests.sign("c", range);
  requests.take({ type: "signature", request: 3, fileSize: 3, hashes });
  requests.take({ type: "signature", request: 1, fileSize: 1, hashes });
  requests.take(listing(2, [], true));
  assertEquals([(await first).fileSize, await second, (await third).fileSize], [1, "", 3]);
});

Deno.test("take() refuses answers that nobody asked for, or of the wrong kind", () => {
  const { requests } = connected();
  assertThrows(
    () => requests.take(listing(1, [], true)),
    ProtocolError,
    "Cannot take answer 1: nobody asked",
  );
  requests.sign("a", range).catch(() => {});
  assertThrows(() => requests.take(listing(1, [], true)), ProtocolError, "a signature was asked for");
  requests.list("a", false, () => {}).catch(() => {});
  assertThrows(
    () => requests.take({ type: "signature", request: 2, fileSize: 0, hashes }),
    ProtocolError,
    "a listing was asked for",
  );
  requests.disconnect();
});

Deno.test("disconnect() fails what is open, what waits and what is asked later", async () => {
  const { requests, posted } = connected();
  const asked = Array.from({ length: limits.questionsAtOnce + 5 }, () => requests.sign("a", range));
  assertEquals(posted.length, limits.questionsAtOnce);
  requests.disconnect();
  for (const question of asked) await assertRejects(() => question, TransientError, "not connected");
  await assertRejects(() => requests.sign("a", range), TransientError, "not connected");
  assertEquals(posted.length, limits.questionsAtOnce, "nothing was posted to the session that is gone");
});

Deno.test("an answer makes room for one question more", async () => {
  const { requests, posted } = connected();
  const asked = Array.from({ length: limits.questionsAtOnce + 2 }, (_, i) => requests.sign(`${i}`, range));
  for (let request = 1; request <= asked.length; request++) {
    assertEquals(posted.length, Math.min(limits.questionsAtOnce + request - 1, asked.length));
    requests.take({ type: "signature", request, fileSize: request, hashes });
    assertEquals((await asked[request - 1]).fileSize, request);
  }
});

Deno.test("questions are asked again after a new connection, with new numbers", async () => {
  const { requests, posted } = connected();
  requests.sign("a", range).catch(() => {});
  requests.disconnect();
  requests.connect();
  const again = requests.sign("a", range);
  assertThrows(() => requests.take({ type: "signature", request: 1, fileSize: 1, hashes }), ProtocolError);
  requests.take({ type: "signature", request: 2, fileSize: 2, hashes });
  assertEquals([(await again).fileSize, posted.length], [2, 2]);
  await yieldToEvents();
});
