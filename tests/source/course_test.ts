import { assertEquals, assertThrows } from "@std/assert";
import { RefusedError } from "../../src/base/errors.ts";
import { checkApart, chooseCourse, type Course, type OwnStand } from "../../src/source/course.ts";

const own: OwnStand = {
  streamId: "s",
  replicaId: "r",
  isReady: true,
  isLoaded: false,
  savedSequence: 5,
  ackedSequence: 7,
  lastSequence: 9,
};
const target = { streamId: "s", replicaId: "r", durableSequence: 8, compareAll: false };
const loaded = { ...own, isReady: false, isLoaded: true, ackedSequence: 0, lastSequence: 0 };

const cases: [string, Partial<OwnStand>, Partial<typeof target>, Course][] = [
  ["the same process and stream", own, target, "resume"],
  ["nothing more is durable than was acked", own, { durableSequence: 7 }, "resume"],
  ["everything sent is durable", own, { durableSequence: 9 }, "resume"],
  ["the target lost what it acked", own, { durableSequence: 6 }, "start over"],
  ["the target has what was never sent", own, { durableSequence: 10 }, "start over"],
  ["another stream", own, { streamId: "other" }, "start over"],
  ["another replica", own, { replicaId: "other" }, "start over"],
  ["no stream on either side", { ...own, streamId: "" }, { streamId: "" }, "start over"],
  ["an unclean target, the same process", own, { compareAll: true }, "resume"],
  ["a new process with a saved index", loaded, target, "continue"],
  ["a saved index of this very moment", loaded, { durableSequence: 5 }, "continue"],
  ["a target older than the saved index", loaded, { durableSequence: 4 }, "start over"],
  ["a new process and an unclean target", loaded, { compareAll: true }, "start over"],
  ["an index that is being filled", { ...own, isReady: false }, target, "start over"],
];

for (const [situation, ours, theirs, course] of cases) {
  Deno.test(`chooseCourse() with ${situation}: ${course}`, () => {
    assertEquals(chooseCourse({ ...own, ...ours }, { ...target, ...theirs }), course);
  });
}

Deno.test("checkApart() refuses a replica in, around or at the source, by identity and not by path", () => {
  const source = { keepsOut: false, path: "/data", place: { machine: "m", identities: ["1:5", "1:2"] } };
  const refusals: [string[], string][] = [
    [["1:5", "1:2"], "they are the same directory"],
    [["1:7", "1:5", "1:2"], "the target lies inside the source"],
    [["1:2"], "the source lies inside the target"],
  ];
  for (const [identities, reason] of refusals) {
    assertThrows(() => checkApart(source, { machine: "m", identities }), RefusedError, reason);
    // The same numbers on another machine are another directory.
    checkApart(source, { machine: "n", identities });
  }
  checkApart(source, { machine: "m", identities: ["1:8", "1:2"] });
});
