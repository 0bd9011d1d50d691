/**
 * Chooses how changes are heard of.
 * @module
 */
import { reasonOf, UsageError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import { InotifyInterceptor } from "./inotify.ts";
import { InotifyQueue } from "./inotify_queue.ts";
import type { Interceptor, InterceptorOptions, WatchingInterceptorName } from "./interceptor.ts";
import { WatchfsInterceptor } from "./watchfs.ts";

/** Name of an interceptor, or `auto` for the best one that works here. */
export type InterceptorChoice = "auto" | WatchingInterceptorName;

/** An interceptor, not yet started, and why it is this one. */
export interface ChosenInterceptor {
  interceptor: Interceptor;
  /** For `status`. */
  reason: string;
}

const planned = ["fanotify", "fuse"];

/**
 * Makes the interceptor that was asked for. `auto` is `inotify` where it works, else `watchfs`.
 *
 * @throws {UsageError} If there is none of that name, or if it does not work here.
 */
export function chooseInterceptor(name: string, options: InterceptorOptions): ChosenInterceptor {
  if (planned.includes(name)) {
    throw new UsageError(`Cannot intercept by ${quote(name)}: not built yet in this version`);
  }
  if (name === "watchfs") {
    return { interceptor: new WatchfsInterceptor(options), reason: "chosen by the user" };
  }
  if (name !== "auto" && name !== "inotify") {
    throw new UsageError(`Cannot intercept by ${quote(name)}: known are auto, inotify and watchfs`);
  }
  const hindrance = inotifyHindrance();
  if (hindrance === undefined) {
    const reason = name === "auto" ? "the best one that works here" : "chosen by the user";
    return { interceptor: new InotifyInterceptor(options), reason };
  }
  if (name === "inotify") throw new UsageError(`Cannot intercept by "inotify": ${hindrance}`);
  return { interceptor: new WatchfsInterceptor(options), reason: `inotify does not work here: ${hindrance}` };
}

/** Why inotify does not work here, if it does not. */
function inotifyHindrance(): string | undefined {
  try {
    new InotifyQueue().close();
    // New directories are reached through their parents' descriptors there.
    Deno.statSync("/proc/self/fd");
  } catch (error) {
    return reasonOf(error);
  }
}
