import { assertEquals } from "@std/assert";
import { parseMounts } from "../../src/intercept/mounts.ts";

Deno.test("parseMounts() reads blanks, bytes that are not UTF-8, bind mounts, and what lies on top", () => {
  const text = new TextEncoder().encode(
    "21 1 8:1 / / rw - ext4 /dev/sda rw\n" +
      "22 21 0:20 / /a\\040b\\134c rw,nosuid shared:1 master:2 - tmpfs tmpfs rw\n" +
      "23 21 8:1 /srv/d /bound rw - ext4 /dev/sda rw\n" +
      "24 23 0:21 / /bound rw - fuse.sshfs host:/ rw\n" +
      "25 21 0:22 / /\x01 rw - proc proc rw\n",
  );
  text[text.indexOf(1)] = 0xff;
  assertEquals(parseMounts(text), [
    { id: "21", path: "/", root: "/", type: "ext4" },
    { id: "22", path: "/a b\\c", root: "/", type: "tmpfs" },
    { id: "24", path: "/bound", root: "/", type: "fuse.sshfs" },
    { id: "25", path: "/\udcff", root: "/", type: "proc" },
  ]);
});
