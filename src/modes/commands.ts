/**
 * The table of commands. Each is loaded when it is asked for: `understudy version` does not wait for what
 * `watch-source` needs.
 * @module
 */
import type { Mode } from "./mode.ts";

/** A command as the table knows it. */
export interface Command {
  /** One line for the overview. */
  summary: string;
  /** Loads its help text, without what it takes to run it. */
  loadHelp(): Promise<string>;
  load(): Promise<Pick<Mode, "run">>;
}

/** All commands of this version, in the order of the overview. */
export const commands: Record<string, Command> = {
  "serve-target": {
    summary: "accept sources and keep their replicas",
    loadHelp: async () => (await import("./serve_target_options.ts")).help,
    load: () => import("./serve_target.ts"),
  },
  "invite": {
    summary: "print a join token for a source",
    loadHelp: async () => (await import("./invite.ts")).help,
    load: () => import("./invite.ts"),
  },
  "watch-source": {
    summary: "mirror a directory, then replicate it live",
    loadHelp: async () => (await import("./watch_source_options.ts")).help,
    load: () => import("./watch_source.ts"),
  },
  "mirror": {
    summary: "make a target equal to a directory, once",
    loadHelp: async () => (await import("./mirror_options.ts")).help,
    load: () => import("./mirror.ts"),
  },
  "restore": {
    summary: "bring a replica back",
    loadHelp: async () => (await import("./restore_options.ts")).help,
    load: () => import("./restore.ts"),
  },
  "promote": {
    summary: "make a replica the one that users work in",
    loadHelp: async () => (await import("./promote.ts")).help,
    load: () => import("./promote.ts"),
  },
  "status": {
    summary: "show what a running daemon does",
    loadHelp: async () => (await import("./status.ts")).help,
    load: () => import("./status.ts"),
  },
  "flush": {
    summary: "wait until every change so far is on every target",
    loadHelp: async () => (await import("./flush.ts")).help,
    load: () => import("./flush.ts"),
  },
  "verify": {
    summary: "compare a source with its targets, and heal",
    loadHelp: async () => (await import("./verify.ts")).help,
    load: () => import("./verify.ts"),
  },
  "set": {
    summary: "show and change what is replicated",
    loadHelp: async () => (await import("./set.ts")).help,
    load: () => import("./set.ts"),
  },
  "explain": {
    summary: "say of a path whether it is replicated, and why",
    loadHelp: async () => (await import("./explain.ts")).help,
    load: () => import("./explain.ts"),
  },
  "guard": {
    summary: "decide about mass deletions that wait",
    loadHelp: async () => (await import("./guard.ts")).help,
    load: () => import("./guard.ts"),
  },
  "hold": {
    summary: "keep a replica as it is, for a backup program to read",
    loadHelp: async () => (await import("./hold.ts")).help,
    load: () => import("./hold.ts"),
  },
  "resume": {
    summary: "end a hold",
    loadHelp: async () => (await import("./hold.ts")).resumeHelp,
    load: async () => ({ run: (await import("./hold.ts")).runResume }),
  },
  "export": {
    summary: "write a replica as a tar stream",
    loadHelp: async () => (await import("./export_options.ts")).help,
    load: () => import("./export.ts"),
  },
  "commit": {
    summary: "show or change when a change counts as committed",
    loadHelp: async () => (await import("./commit.ts")).help,
    load: () => import("./commit.ts"),
  },
  "connect": {
    summary: "replicate to a further target",
    loadHelp: async () => (await import("./target_commands.ts")).help,
    load: () => import("./target_commands.ts"),
  },
  "disconnect": {
    summary: "end replication to a target",
    loadHelp: async () => (await import("./target_commands.ts")).disconnectHelp,
    load: async () => ({ run: (await import("./target_commands.ts")).runDisconnect }),
  },
  "flow": {
    summary: "show or change when and how fast targets are sent to",
    loadHelp: async () => (await import("./flow.ts")).help,
    load: () => import("./flow.ts"),
  },
  "keys": {
    summary: "show public keys",
    loadHelp: async () => (await import("./keys.ts")).help,
    load: () => import("./keys.ts"),
  },
  "version": {
    summary: "show the version",
    loadHelp: async () => (await import("./version.ts")).help,
    load: () => import("./version.ts"),
  },
  "help": {
    summary: "show help on a command",
    loadHelp: async () => (await import("./help.ts")).help,
    load: () => import("./help.ts"),
  },
};

/** Commands of the documentation that a later version brings. */
export const laterCommands: readonly string[] = [
  "deleted",
  "versions",
  "archive",
  "discover",
  "completions",
];
