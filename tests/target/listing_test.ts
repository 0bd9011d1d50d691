import { assert, assertEquals, assertThrows } from "@std/assert";
import { ProtocolError } from "../../src/base/errors.ts";
import { limits } from "../../src/base/limits.ts";
import { hashBytes, initHasher } from "../../src/mirror/signature.ts";
import { encodeMessage, type ListedEntry, type Message } from "../../src/wire/message.ts";
import { file, Harness, mkdir, plain, symlink } from "../testing/receiver.ts";
import { tempDirectory } from "../testing/temp.ts";

await initHasher();

function entriesOf(messages: Message[]): ListedEntry[] {
  return messages.flatMap((message) => message.type === "listing" ? message.entries : []);
}

Deno.test("listEntries() lists one entry, a subtree, and nothing for what is absent", async () => {
  await using directory = await tempDirectory();
  using h = new Harness({ directory: directory.path });
  h.hello();
  h.apply(mkdir("d"), mkdir("d/e"), file("d/e/f", "four"), symlink("d/l", "to \udcff"), file("z\udc80", ""));
  Deno.mkdirSync(`${directory.path}/live/.understudy/x`, { recursive: true });
  const list = (path: string, recursive: boolean) => h.ask({ type: "list", request: 7, path, recursive });
  const [entry] = entriesOf(list("d/e/f", false));
  const { uid, gid } = Deno.lstatSync(`${directory.path}/live/d/e/f`);
  const times = { mode: plain.mode!, mtimeNs: plain.mtimeNs! };
  assertEquals(entry, {
    path: "d/e/f",
    kind: "file",
    ...times,
    uid: uid!,
    gid: gid!,
    size: 4,
    linkTarget: "",
  });
  assertEquals(entriesOf(list("d", false)).map(({ path }) => path), ["d"]);
  const all = entriesOf(list("", true));
  assertEquals(all.map(({ path }) => path).sort(), ["", "d", "d/e", "d/e/f", "d/l", "z\udc80"]);
  assertEquals(all.find(({ path }) => path === "d/l")!.linkTarget, "to \udcff");
  for (const [index, { path }] of all.entries()) {
    const parent = all.findIndex((each) =>
      path !== "" && each.path === path.split("/").slice(0, -1).join("/")
    );
    assert(parent < index, `${path} comes after its parent`);
  }
  for (const absent of ["nothing", "d/e/f/g", ".understudy", ".understudy/x"]) {
    assertEquals(list(absent, true), [
      { type: "listing", request: 7, entries: [], last: true, problem: "" },
    ]);
  }
});

Deno.test("a listing of 20,000 entries comes in chunks, and live ops are applied and acked between them", async () => {
  await using directory = await tempDirectory();
  using h = new Harness({ directory: directory.path });
  h.hello();
  const count = 20_000;
  const name = "a name of some length that makes the chunks fill up sooner";
  for (let d = 0; d < 20; d++) {
    Deno.mkdirSync(`${directory.path}/live/d${d}`);
    for (let i = 0; i < count / 20; i++) Deno.symlinkSync("x", `${directory.path}/live/d${d}/${name} ${i}`);
  }
  h.receiver.handle({ type: "list", request: 1, path: "", recursive: true });
  const isListed = () => h.sent.some((message) => message.type === "listing" && message.last);
  let acks = 0;
  while (!isListed()) {
    assertEquals(h.apply(file("live", `${acks++}`)), []);
    h.receiver.work();
    h.receiver.handle({ type: "sign", request: 2, path: "live", blockSize: 512, start: 0, end: 512 });
    h.receiver.work();
    assert(acks < 1_000, "the listing comes to its end");
  }
  while (h.receiver.hasWork) h.receiver.work();
  const chunks = h.sent.filter((message) => message.type === "listing");
  assert(chunks.length > 10 && acks > 10, `${chunks.length} chunks, ${acks} acks`);
  assert(chunks.every((chunk) => encodeMessage(chunk).length < limits.messageSizeMax), "each fits a message");
  assertEquals(chunks.map(({ last }) => last), [...Array(chunks.length - 1).fill(false), true]);
  const paths = new Set(entriesOf(chunks).map(({ path }) => path));
  paths.delete("live");
  assertEquals(paths.size, count + 20 + 1);
  assertEquals(h.sent.filter(({ type }) => type === "signature").length, acks);
});

Deno.test("signFile() hashes the 4,096-byte example in blocks of 512, a short last block, and a range", async () => {
  await using directory = await tempDirectory();
  using h = new Harness({ directory: directory.path });
  h.hello();
  const data = crypto.getRandomValues(new Uint8Array(4_096));
  h.apply(file("f", data), file("short", data.subarray(0, 700)), mkdir("d"), symlink("l", "f"));
  const sign = (path: string, start = 0, end = 4_096) => {
    const [answer] = h.ask({ type: "sign", request: 3, path, blockSize: 512, start, end });
    if (answer.type !== "signature" || answer.request !== 3) throw new Error("it is not answered");
    return answer;
  };
  const whole = sign("f");
  assertEquals([whole.fileSize, whole.hashes.length], [4_096, 8 * 16]);
  assertEquals(whole.hashes.subarray(2 * 16, 3 * 16), hashBytes(data.subarray(1_024, 1_536)));
  assertEquals(sign("f", 1_024, 2_048).hashes, whole.hashes.subarray(2 * 16, 4 * 16));
  const short = sign("short");
  assertEquals([short.fileSize, short.hashes.length], [700, 2 * 16]);
  assertEquals(short.hashes.subarray(16), hashBytes(data.subarray(512, 700)));
  assertEquals(sign("f", 4_096, 8_192).hashes.length, 0);
  for (const path of ["d", "l", "absent", "f/below", ""]) assertEquals(sign(path).fileSize, -1);
});

Deno.test("signFile() refuses a range that starts inside a block, is too large, or has impossible blocks", async () => {
  await using directory = await tempDirectory();
  using h = new Harness({ directory: directory.path });
  h.hello();
  const bad = [
    { blockSize: 512, start: 100, end: 512 },
    { blockSize: 512, start: 1_024, end: 512 },
    { blockSize: 100, start: 0, end: 512 },
    { blockSize: 2 ** 21, start: 0, end: 512 },
    { blockSize: 512, start: 0, end: limits.signatureRangeSize + 512 },
  ];
  for (const range of bad) {
    assertThrows(() => h.ask({ type: "sign", request: 1, path: "f", ...range }), ProtocolError);
  }
});

Deno.test(`a sender that asks more than ${limits.questionsMax} questions at once is refused`, async () => {
  await using directory = await tempDirectory();
  using h = new Harness({ directory: directory.path });
  h.hello();
  const question: Message = { type: "list", request: 1, path: "", recursive: false };
  for (let i = 0; i < limits.questionsMax; i++) h.receiver.handle(question);
  assertThrows(() => h.receiver.handle(question), ProtocolError, "wait for their answer");
});

Deno.test("a listing begins with a small part, and a directory too large for one turn comes in several, whole", async () => {
  await using directory = await tempDirectory();
  using h = new Harness({ directory: directory.path });
  h.hello();
  Deno.mkdirSync(`${directory.path}/live/large`);
  Deno.mkdirSync(`${directory.path}/live/small`);
  for (let i = 0; i < 3_000; i++) Deno.symlinkSync(`to ${i}`, `${directory.path}/live/large/${i}`);
  for (let i = 0; i < 300; i++) Deno.writeTextFileSync(`${directory.path}/live/small/${i}`, "");
  Deno.symlinkSync("elsewhere", `${directory.path}/live/small/link`);
  const parts = h.ask({ type: "list", request: 1, path: "", recursive: true }).map((part) =>
    entriesOf([part])
  );
  assert(parts[0].length < 200, `${parts[0].length} entries come first`);
  assert(parts.every(({ length }) => length <= 1_024), "no part takes long");
  const all = parts.flat();
  const directoryOf = ({ path }: ListedEntry) => path.split("/").slice(0, -1).join("/");
  const runs = all.map(directoryOf).filter((each, i, directories) => each !== directories[i - 1]);
  assertEquals(runs.toSorted(), ["", "large", "small"], "entries of a directory come together");
  assertEquals(all.length, 1 + 2 + 3_000 + 301);
  assertEquals(new Set(all.map(({ path }) => path)).size, all.length);
  for (const { path, linkTarget } of all.filter((entry) => directoryOf(entry) === "large")) {
    assertEquals(linkTarget, `to ${path.slice("large/".length)}`);
  }
  assertEquals(all.find(({ path }) => path === "small/link")!.linkTarget, "elsewhere");
});
