import { assert, assertEquals, assertRejects } from "@std/assert";
import { TransientError } from "../../src/base/errors.ts";
import { Bell } from "../../src/source/bell.ts";
import { Gate } from "../../src/source/gate.ts";
import type { Lane } from "../../src/source/lane.ts";

/** A gate before a lane that has room when the test says so. */
function gateBefore() {
  const world = { hasRoom: true, isStopped: false, hurries: 0 };
  const bell = new Bell();
  const gate = new Gate({
    lane: { hasRoom: () => world.hasRoom, keepsOnDisk: false } as unknown as Lane,
    bell,
    course: () => 0,
    isConnected: () => true,
    isStopped: () => world.isStopped,
    hurry: () => {
      world.hurries++;
      return { [Symbol.dispose]: () => void world.hurries-- };
    },
    isDry: false,
  });
  return { world, bell, gate };
}

Deno.test("Gate hurries flow rules while somebody waits for room, and only then", async () => {
  const { world, bell, gate } = gateBefore();
  assert(await gate.room(10, "live"));
  assertEquals(world.hurries, 0);
  world.hasRoom = false;
  const waiting = [gate.room(10, "live"), gate.room(10, "mirror")];
  assertEquals(world.hurries, 2);
  world.hasRoom = true;
  bell.ring();
  assertEquals(await Promise.all(waiting), [false, false], "it took time");
  assertEquals(world.hurries, 0);
});

Deno.test("Gate hurries nobody any more for one that waited until the stop", async () => {
  const { world, bell, gate } = gateBefore();
  world.hasRoom = false;
  const waiting = gate.room(10, "live");
  world.isStopped = true;
  bell.ring();
  await assertRejects(() => waiting, TransientError, "stopped");
  assertEquals(world.hurries, 0);
});
