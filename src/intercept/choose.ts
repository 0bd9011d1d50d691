/**
 * Chooses how changes are heard of.
 * @module
 */
import { reasonOf, UsageError } from "../base/errors.ts";
import { quote } from "../base/path.ts";
import { FanotifyInterceptor } from "./fanotify.ts";
import { fanotifyHindrance } from "./fanotify_hindrance.ts";
import { InotifyInterceptor } from "./inotify.ts";
import { InotifyQueue, isInstanceLimit } from "./inotify_queue.ts";
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

/** A way to hear of changes. */
interface Way {
  name: WatchingInterceptorName;
  create(options: InterceptorOptions): Interceptor;
  /** Why it does not work for this root, if it does not. */
  hindrance(root: string): string | undefined;
}

/** The best first. */
const ways: Way[] = [
  {
    name: "fanotify",
    create: (options) => new FanotifyInterceptor({ ...options, ignoredPid: Deno.pid }),
    hindrance: fanotifyHindrance,
  },
  { name: "inotify", create: (options) => new InotifyInterceptor(options), hindrance: inotifyHindrance },
  { name: "watchfs", create: (options) => new WatchfsInterceptor(options), hindrance: () => undefined },
];

const planned = ["fuse"];

/**
 * Makes the interceptor that was asked for. `auto` is the first of `fanotify`, `inotify` and `watchfs` that works here.
 *
 * @throws {UsageError} If there is none of that name, or if it does not work here.
 */
export function chooseInterceptor(name: string, options: InterceptorOptions): ChosenInterceptor {
  if (planned.includes(name)) {
    throw new UsageError(`Cannot intercept by ${quote(name)}: not built yet in this version`);
  }
  if (name === "auto") return chooseBest(options);
  const way = ways.find((way) => way.name === name);
  if (!way) {
    throw new UsageError(`Cannot intercept by ${quote(name)}: known are auto, fanotify, inotify and watchfs`);
  }
  const hindrance = way.hindrance(options.root);
  if (hindrance !== undefined) throw new UsageError(`Cannot intercept by ${quote(name)}: ${hindrance}`);
  return { interceptor: way.create(options), reason: "chosen by the user" };
}

function chooseBest(options: InterceptorOptions): ChosenInterceptor {
  const hindrances: string[] = [];
  for (const way of ways) {
    const hindrance = way.hindrance(options.root);
    if (hindrance !== undefined) {
      hindrances.push(`${way.name} does not work here: ${hindrance}`);
      continue;
    }
    const reason = hindrances.length === 0 ? "the best one that works here" : hindrances.join("; ");
    return { interceptor: way.create(options), reason };
  }
  throw new UsageError(`Cannot intercept: ${hindrances.join("; ")}`);
}

/** Why inotify does not work here, if it does not. */
function inotifyHindrance(): string | undefined {
  try {
    new InotifyQueue().close();
    // New directories are reached through their parents' descriptors there.
    Deno.statSync("/proc/self/fd");
  } catch (error) {
    // Others that watch by inotify would meet it, too; it may end, and until then everything is polled.
    return isInstanceLimit(error) ? undefined : reasonOf(error);
  }
}
