import { assert, assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../src/base/errors.ts";
import { chooseInterceptor } from "../../src/intercept/choose.ts";
import { lacks } from "../testing/needs.ts";

const options = { root: "/", onHints: () => {} };

Deno.test({
  name: "chooseInterceptor() takes inotify by itself where it works, and says so",
  ignore: lacks("linux"),
  fn() {
    const { interceptor, reason } = chooseInterceptor("auto", options);
    assertEquals(interceptor.name, "inotify");
    assertEquals(interceptor.lossy, false);
    assert(reason.length > 0);
  },
});

Deno.test("chooseInterceptor() takes what was asked for", () => {
  const { interceptor } = chooseInterceptor("watchfs", options);
  assertEquals(interceptor.name, "watchfs");
  assertEquals(interceptor.lossy, true);
});

Deno.test("chooseInterceptor() refuses what is not built and what is not known", () => {
  for (const name of ["fanotify", "fuse"]) {
    const error = assertThrows(() => chooseInterceptor(name, options), UsageError);
    assertEquals(error.message, `Cannot intercept by "${name}": not built yet in this version`);
  }
  assertThrows(
    () => chooseInterceptor("inotify2", options),
    UsageError,
    "known are auto, inotify and watchfs",
  );
});
