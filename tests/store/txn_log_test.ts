/**
 * Goal: what a transaction log has committed is there after any end of its process or its power, in order and as it was
 * written; what is not whole is not there; what is lost is said.
 *
 * Method: records whose contents follow from their sequence; files cut at each byte and with each byte flipped; a writer
 * killed at each system call that touches the log; images of a file system, copied while the writer runs.
 * @module
 */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { equalBytes } from "../../src/base/bytes.ts";
import { TransientError } from "../../src/base/errors.ts";
import { TransactionLog } from "../../src/store/txn_log.ts";
import { lacks } from "../testing/needs.ts";
import { runProcess, startProcess } from "../testing/process.ts";
import { type DiskImage, loopMount, tempDirectory, tmpfsMount } from "../testing/temp.ts";
import { waitFor } from "../testing/wait.ts";
import { payloadOf } from "./log_writer.ts";

const small = { segmentBytes: 500 };
const writer = new URL("log_writer.ts", import.meta.url).pathname;

/** Appends records; commits now and then, and the last. */
async function fill(directory: string, count: number, options = small): Promise<void> {
  using log = TransactionLog.open(directory, options);
  for (let i = 0; i < count; i++) {
    log.append(payloadOf(log.nextSequence));
    if (i % 10 === 9) await log.commit();
  }
  await log.commit();
}

/** Sequences in a log, each with the contents that it must have. */
function sequencesIn(log: TransactionLog, from?: number): number[] {
  return [...log.read(from)].map(({ sequence, payload }) => {
    assert(equalBytes(payload, payloadOf(sequence)), `record ${sequence} is another one`);
    return sequence;
  });
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);
}

function segmentsIn(directory: string): string[] {
  return [...Deno.readDirSync(directory)].map(({ name }) => name).sort();
}

Deno.test("TransactionLog keeps what was appended, in order, over restarts and segments", async () => {
  await using place = await tempDirectory();
  const directory = `${place.path}/log`;
  for (let round = 1; round <= 3; round++) {
    await fill(directory, 40);
    using log = TransactionLog.open(directory, small);
    assertEquals(log.findings, { tornBytes: 0, damage: "" });
    assertEquals([log.firstSequence, log.nextSequence], [1, 40 * round + 1]);
    assertEquals(sequencesIn(log), range(1, 40 * round));
    assertEquals(sequencesIn(log, 17), range(17, 40 * round));
  }
  assert(segmentsIn(directory).length > 5);
});

Deno.test("TransactionLog reads what is not yet written, and takes more meanwhile", async () => {
  await using place = await tempDirectory();
  using log = TransactionLog.open(place.path, small);
  log.append(payloadOf(1));
  assertEquals(sequencesIn(log), [1]);
  const reading = log.read();
  assertEquals(reading.next().value?.sequence, 1);
  log.append(payloadOf(2));
  assertEquals(reading.next().value?.sequence, 2);
  assertEquals(reading.next().done, true);
  assertEquals(sequencesIn(log, 2), [2]);
  assertEquals(sequencesIn(log, 3), []);
});

Deno.test("TransactionLog skips nothing that comes into a segment while that is read, and the next ones", async () => {
  await using place = await tempDirectory();
  using log = TransactionLog.open(place.path, small);
  const reading = log.read();
  const read: number[] = [];
  for (let i = 1; i <= 300; i++) {
    log.append(payloadOf(i));
    if (i % 7 === 0) await log.commit();
    // Behind, and sometimes at the end.
    for (let count = i % 3; count > 0 && read.length < i; count--) read.push(reading.next().value!.sequence);
  }
  for (const { sequence } of reading) read.push(sequence);
  assertEquals(read, range(1, 300));
});

Deno.test("TransactionLog removes segments whose records are released, and counts on", async () => {
  await using place = await tempDirectory();
  using log = TransactionLog.open(place.path, small);
  for (let i = 1; i <= 60; i++) log.append(payloadOf(i));
  await log.commit();
  for (let i = 61; i <= 100; i++) {
    log.append(payloadOf(i));
    await log.commit();
  }
  const before = log.bytes;
  log.release(80);
  assert(log.bytes < before / 2 && log.firstSequence <= 80, `${log.bytes} of ${before} bytes`);
  assertEquals(sequencesIn(log, 80), range(80, 100));
  log.release(101);
  assertEquals([log.firstSequence, segmentsIn(place.path).length, sequencesIn(log)], [101, 1, []]);
  assertEquals(log.append(payloadOf(101)), 101);
  await log.commit();
  assertEquals(sequencesIn(log), [101]);
});

Deno.test("commits that come together are synced together, and none is forgotten", async () => {
  await using place = await tempDirectory();
  const commits: Promise<void>[] = [];
  {
    using log = TransactionLog.open(place.path, small);
    for (let i = 1; i <= 2_000; i++) {
      log.append(payloadOf(i));
      commits.push(log.commit());
      if (i % 100 === 0) await new Promise((resolve) => setTimeout(resolve));
    }
    await Promise.all(commits);
  }
  using log = TransactionLog.open(place.path, small);
  assertEquals(sequencesIn(log), range(1, 2_000));
});

Deno.test("a log cut anywhere keeps every whole record before the cut, says what was torn, and goes on", async () => {
  await using place = await tempDirectory();
  const whole = `${place.path}/whole`;
  await fill(whole, 12, { segmentBytes: 1 << 20 });
  const [name] = segmentsIn(whole);
  const bytes = Deno.readFileSync(`${whole}/${name}`);
  let known = 0;
  for (let size = 0; size <= bytes.length; size++) {
    const directory = `${place.path}/${size}`;
    Deno.mkdirSync(directory);
    Deno.writeFileSync(`${directory}/${name}`, bytes.subarray(0, size));
    using log = TransactionLog.open(directory, small);
    const sequences = sequencesIn(log);
    assertEquals(sequences, range(1, sequences.length));
    assert(
      sequences.length === known || sequences.length === known + 1,
      "each cut tells at most one record more",
    );
    known = sequences.length;
    assertEquals(log.findings.damage, "");
    log.append(payloadOf(known + 1));
    await log.commit();
    assertEquals(sequencesIn(log), range(1, known + 1));
    Deno.removeSync(directory, { recursive: true });
  }
  assertEquals(known, 12);
});

Deno.test("a flipped bit ends the log before its record, and is told where anything is lost behind it", async () => {
  await using place = await tempDirectory();
  const whole = `${place.path}/whole`;
  await fill(whole, 8, { segmentBytes: 60 });
  // One commit is one write: each restart begins a segment once the one before is full.
  for (let i = 0; i < 4; i++) await fill(whole, 4, { segmentBytes: 60 });
  const names = segmentsIn(whole);
  assert(names.length >= 4);
  const count = 8 + 4 * 4;
  for (const [i, name] of names.entries()) {
    const bytes = Deno.readFileSync(`${whole}/${name}`);
    for (let at = 0; at < bytes.length; at += 3) {
      const flipped = bytes.slice();
      flipped[at] ^= 1 << (at % 8);
      Deno.writeFileSync(`${whole}/${name}`, flipped);
      const directory = `${place.path}/copy`;
      await runProcess("cp", ["-r", whole, directory], { expectCode: 0 });
      using log = TransactionLog.open(directory, { segmentBytes: 60 });
      const sequences = sequencesIn(log);
      assertEquals(sequences, range(1, sequences.length));
      assert(sequences.length < count);
      const { tornBytes, damage } = log.findings;
      assert(tornBytes > 0);
      assertEquals(damage !== "", i < names.length - 1);
      Deno.removeSync(directory, { recursive: true });
    }
    Deno.writeFileSync(`${whole}/${name}`, bytes);
  }
  Deno.removeSync(`${whole}/${names[1]}`);
  using log = TransactionLog.open(whole, small);
  assertMatch(log.findings.damage, /^records \d+ to \d+ are missing$/);
});

Deno.test({
  name: "a full disk breaks the log: commits fail with the reason, what was committed before stays",
  ignore: lacks("linux", "root"),
  async fn() {
    await using place = await tmpfsMount({ sizeBytes: 256 * 1024 });
    let committed = 0;
    {
      using log = TransactionLog.open(`${place.path}/log`);
      const error = await assertRejects(async () => {
        for (;;) {
          const sequence = log.append(payloadOf(log.nextSequence));
          await log.commit();
          committed = sequence;
        }
      }, TransientError);
      assertMatch(error.message, /No space left/i);
      assert(log.failure);
      log.append(payloadOf(log.nextSequence));
      await assertRejects(() => log.commit(), TransientError, "No space left");
    }
    assert(committed > 100);
    await runProcess("mount", ["-o", "remount,size=1m", place.path], { expectCode: 0 });
    using log = TransactionLog.open(`${place.path}/log`);
    const sequences = sequencesIn(log);
    assertEquals(sequences, range(1, sequences.length));
    assert(sequences.length >= committed);
    log.append(payloadOf(log.nextSequence));
    await log.commit();
  },
});

Deno.test({
  name: "a disk that turns read-only breaks the log; opening it there fails by name",
  ignore: lacks("linux", "root"),
  async fn() {
    await using place = await tmpfsMount({ sizeBytes: 1 << 20 });
    const directory = `${place.path}/log`;
    await fill(directory, 5);
    await runProcess("mount", ["-o", "remount,ro", place.path], { expectCode: 0 });
    try {
      TransactionLog.open(directory);
      throw new Error("it opened");
    } catch (error) {
      assertMatch(String(error), /Read-only file system/);
    }
    await runProcess("mount", ["-o", "remount,rw", place.path], { expectCode: 0 });
    using log = TransactionLog.open(directory);
    assertEquals(sequencesIn(log), range(1, 5));
  },
});

Deno.test({
  name: "a writer killed at any system call on its log has all that it had committed",
  ignore: lacks("linux", "command strace"),
  async fn() {
    await using place = await tempDirectory();
    let kills = 0;
    for (let call = 1, isDone = false; !isDone; call += 1 + Math.floor(call / 12)) {
      const directory = `${place.path}/${call}`;
      Deno.mkdirSync(directory);
      await fill(directory, 3, { segmentBytes: 1_000 });
      const paths = segmentsIn(directory).flatMap((name) => ["-P", `${directory}/${name}`]);
      const killing = "inject=openat,write,fdatasync,fsync,unlink,close,ftruncate:signal=KILL:when=" + call;
      const program = [Deno.execPath(), "run", "-A", writer, directory, "60", "1"];
      const options = ["-f", "-qqq", "-o", "/dev/null", "-P", directory, ...paths, "-e", killing];
      const { stdout, code } = await runProcess("strace", [...options, ...program]);
      isDone = code === 0;
      if (!isDone) kills++;
      const committed = Number(stdout.trim().split("\n").at(-1) || 3);
      using log = TransactionLog.open(directory);
      assertEquals(log.findings.damage, "", `call ${call}`);
      const sequences = sequencesIn(log, committed);
      assertEquals(sequences[0] ?? log.nextSequence, committed, `killed at call ${call}`);
      assertEquals(sequences, range(committed, log.nextSequence - 1));
    }
    assert(kills >= 10, `only ${kills} kills`);
  },
});

Deno.test({
  name: "power cuts take nothing that was committed: 20 images of the disk, copied while a writer runs",
  ignore: lacks("linux", "root", "loop devices", "command mkfs.ext4"),
  async fn() {
    await using disk = await loopMount({ sizeBytes: 16 << 20 });
    // Each of many small commits, and such as fill several segments before their end.
    for (const batchSize of [1, 1_000]) await cutPower(disk, batchSize);
  },
});

async function cutPower(disk: DiskImage, batchSize: number): Promise<void> {
  const directory = `${disk.path}/${batchSize}`;
  await using writing = startProcess(Deno.execPath(), [
    "run",
    "-A",
    writer,
    directory,
    "9999000",
    `${batchSize}`,
  ]);
  const committed = () => Number(writing.stdout.trim().split("\n").at(-1));
  for (let cut = 0; cut < 10; cut++) {
    const before = committed();
    await waitFor(() => committed() > before + 2 * batchSize, { what: "further commits" });
    const promised = committed();
    // The copy takes its time, which a power cut does not.
    writing.kill("SIGSTOP");
    await using after = await disk.copy();
    writing.kill("SIGCONT");
    using log = TransactionLog.open(`${after.path}/${batchSize}`);
    assertEquals(log.findings.damage, "");
    assert(
      log.nextSequence > promised,
      `${promised} was committed, and the log ends at ${log.nextSequence}`,
    );
    assertEquals(sequencesIn(log), range(log.firstSequence, log.nextSequence - 1));
  }
}
