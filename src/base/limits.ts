/**
 * Every bound of the program, with its unit and with what happens when it is met. The relations that must hold
 * between them are asserted at the end.
 * @module
 */
import { assert } from "./errors.ts";

const KiB = 1024;
const MiB = 1024 * KiB;

export const limits = {
  // ——— Wire (docs/WIRE.md) ———

  /** Bytes of one frame's body, before encryption. A longer frame closes the session. */
  frameBodySizeMax: MiB,
  /** Bytes of one message. A body that would decompress beyond it closes the session. */
  messageSizeMax: MiB,
  /** File bytes in one op. Larger files travel in several. */
  opDataSizeMax: 512 * KiB,
  /** Small ops are gathered up to this many bytes into one message. */
  opsMessageSizeTarget: 256 * KiB,
  /** An op with so many file bytes is alone in its message: then it is the same to all targets, and compressed once. */
  loneOpSizeMin: 64 * KiB,
  /** Bytes of a path on the wire. A longer one is a problem of that file. */
  pathSizeMax: 65_535,
  /** Bytes of an entry's extended attributes. Of one that has more none is sent: a problem of that entry. */
  xattrsSizeMax: 256 * KiB,
  /** Frames under one key; then both sides rekey (Noise §11.3). */
  rekeyAfterFrames: 65_536,
  /** A handshake not finished by then is dropped. */
  handshakeMs: 10_000,
  /** Connections that have not finished their handshake; more are closed at once. */
  handshakesMax: 64,
  /** Silence on a session after which a ping is sent. */
  pingAfterMs: 5_000,
  /** Silence on a session after which the peer counts as dead. */
  deadAfterMs: 20_000,
  /** Bytes of one handshake message. A longer one ends the handshake. */
  handshakeMessageSizeMax: 4_096,
  /** Bytes of a reason that is told to the peer; the rest is cut off. */
  refusalReasonSizeMax: 512,
  /** Bytes of compressed messages kept for the sessions to other targets, which send the same. */
  sharedCompressionBytes: 8 * MiB,
  /** Bytes that one read from a connection asks for. */
  readSize: 256 * KiB,
  /** Sealed bytes waiting to be written; beyond it `send` waits. */
  sendBufferBytes: 512 * KiB,
  /** Bytes of messages received and not yet taken; beyond it nothing is read, so the peer's `send` waits. */
  receiveBufferBytes: 4 * MiB,
  /** A closing side waits this long for the peer to take what was sent, then lets go. */
  closeMs: 1_000,
  /** First and longest pause between two tries to connect; each is multiplied by 0.5…1.5. */
  reconnectMinMs: 100,
  reconnectMaxMs: 10_000,

  // ——— Source ———

  /** Bytes of ops sent and not yet acked. Beyond it the lane waits: *catching-up*. */
  windowBytes: 24 * MiB,
  /** Ops sent and not yet acked. Beyond it the lane waits: *catching-up*. */
  windowOps: 16_384,
  /** Bytes and number of mirror ops in the window, so that live ops do not queue behind a whole window of them. */
  mirrorWindowBytes: 8 * MiB,
  mirrorWindowOps: 3_072,
  /** Beside live changes, and this long after one, only so many mirror ops as are acked in this time; at least so many. */
  liveLatelyMs: 2_000,
  mirrorAckMs: 10,
  mirrorWindowOpsMin: 64,
  /** Dirty paths of one lane. Beyond it they are forgotten and the whole tree is scanned instead. */
  dirtyPathsMax: 200_000,
  /** Bytes of a segment of the transaction log, and of commands that wait to be written to it. */
  logSegmentBytes: 8 * MiB,
  logBufferBytes: 64 * KiB,
  /** Bytes of one record in it: two paths, or a message of an ordered journal, and what goes with them. */
  logPayloadSizeMax: 2 * MiB,
  /** Bytes of all of it. Beyond it everything is looked at instead of what it held. */
  logBytesMax: 256 * MiB,
  /** Passes of a failback until one finds nothing to do. Beyond it the replica is still being changed, and it fails. */
  failbackPassesMax: 5,
  /** Entries that a failback remembers to have made itself. Beyond it, of those that are replaced again more is kept. */
  failbackMadeMax: 200_000,
  /** Versions of one name that a failback keeps. Beyond it the entry is not replaced, and the failback fails. */
  keptVersionsMax: 100,
  /** Unsent changes that a failback prints; all are in its list. */
  failbackLinesMax: 100,
  /** Lowest rate that a user can set, bytes a second: below it the peer would be silent for too long. */
  limitRateMin: 64 * KiB,
  /** With a rate: unused time that may be made up for, and what is written at once, in time. */
  throttleBurstMs: 50,
  throttleSliceMs: 20,
  /** With a rate: a mirror's part of the window, in time and at least, so that live ops do not wait behind it. */
  throttleMirrorMs: 250,
  throttleMirrorBytesMin: 32 * KiB,
  /** With a rate: file bytes in one op, in time and at least, for the same reason. */
  throttleOpMs: 100,
  throttleOpSizeMin: 16 * KiB,
  /** Pause between two looks at whether flow rules open the way. */
  flowLookMs: 100,
  /** Ops that go to an ordered journal gather so long into one parcel. */
  journalGatherMs: 100,
  /** Pause between two looks at whether a target can be reached, for those who do not wait for one that cannot. */
  unreachableLookMs: 100,
  /** Pause after a failed write before it is tried again, and between two looks at how far lanes have come. */
  logRetryMs: 5_000,
  logReleaseMs: 1_000,
  /** Commands that a lane takes from it at once. */
  backlogBatch: 4_096,
  /** Bytes between two stacked writes of a file from which on they stay two, unless the user chooses another number. */
  mergePacketSize: 4 * KiB,
  /** Bytes of memory of one stacked-up queue. Beyond it the queue is *overflowed*: what changed is looked at instead. */
  stackedBytes: 64 * MiB,
  /** Bytes of a stacked op beside its names, at most, as measured (tests/source/stacked_memory.ts). */
  stackedOpSize: 168,
  /** A mirror's small ops gather so long into one message. Live ops never wait. */
  gatherMs: 3,
  /** Buffers of acked parcels kept for the next ones. */
  spareParcelsMax: 24,
  /** Names of hard-linked files that are kept together; changes through the others are found by the scan. */
  linkedPathsMax: 200_000,
  /** Paths that one batch of detection takes. */
  detectBatchPaths: 2_048,
  /** Milliseconds that detection or a scan may hold the event loop before it yields. */
  sliceMs: 4,
  /** Milliseconds of such slices after which the sockets are listened to: acks and pings come by them. */
  socketsMs: 16,
  /** Files of this size or more get block signatures; smaller ones are sent whole. */
  signatureFileSizeMin: 256 * KiB,
  /** Block size of fast mirror, unless the user chooses another. Coarse blocks are 16 of them. */
  blockSize: 4 * KiB,
  coarseBlockFactor: 16,
  /** Block sizes that a user may choose. */
  blockSizeMin: 512,
  blockSizeMax: 64 * KiB,
  /** Entries of one index: beyond it the set is refused (about 130 bytes of memory each). */
  indexEntriesMax: 64 * MiB,
  /** Bytes of block signatures that the index keeps in memory; beyond it saved ones are read back from disk. */
  signatureCacheBytes: 64 * MiB,
  /** Smallest file that is compared by signatures, unless the user chooses another size. */
  fastMirrorSizeMin: 64 * KiB,
  /** Files of this size or more are patched in place if their patch is small enough (docs/DISK.md, "patch"). */
  patchFileSizeMin: MiB,
  /** Bytes of one in-place patch. A larger change is staged as a whole new version. */
  patchSizeMax: 64 * MiB,
  /** File bytes that one signature request covers, so that no request holds up live ops. */
  signatureRangeSize: 16 * MiB,
  /** Passes over a file that keeps changing; then what was read is sent, and the file is looked at again. */
  readPassesMax: 3,
  /** A file changed less than this ago is looked at again when it has come to rest. */
  restMs: 2_000,
  /** Tick of a coarse clock for file times, with room to spare: a file changed less than this ago is *racy*. */
  racyMs: 20,
  /** A large file that was appended to is compared whole after `restMs`, but not oftener than this rate allows. */
  proofBytesPerMs: 64 * KiB,
  /** A path that is gone waits so long before its deletion is sent; twice as long at most unless renames go on. */
  deletionRestMs: 500,
  /** A name that another file took waits at most so long for what it held to be found elsewhere. */
  takenRestMs: 500,
  /** The same, both, while so many renames were found meanwhile, or a scan looks for what events did not tell. */
  restMovesMin: 16,
  restMaxMs: 25_000,
  /** What a first mirror found rests so long at most before it is called done, while renames go on. */
  firstRestMs: 5_000,
  /** Then what was heard until that moment is looked at before, if that takes no longer than this. */
  restBacklogMs: 120_000,
  /** An interceptor that cannot promise that it has told everything is asked again after this. */
  hearAgainMs: 20,
  /** So many paths gone together go together, once no further one comes, at the latest after so long. */
  deletionBurstMin: 100,
  deletionBurstMs: 10_000,
  /** Names that rest. Beyond it deletions go at once, and a rename may cost data. */
  restingMax: 200_000,
  /** Resting names dealt with together. Of more of them, files that changed places are swapped and swapped again. */
  restingBatch: 16_384,
  /** Large files in transfer at the same time. */
  transfersMax: 2,
  /** Transfers beyond which a small file is sent whole without asking whether the target has it. */
  smallTransfersMax: 64,
  /** Guards look at what happened within this time. */
  guardWindowMs: 60_000,
  /** Deletions from which on they wait for a decision: so many, and such a share of all entries. */
  guardDeletesCount: 500,
  guardDeletesShare: 0.4,
  /** The same for files whose contents change. */
  guardRewritesCount: 500,
  guardRewritesShare: 0.5,
  /** Paths of one guard record; beyond it their directories are kept instead. And those shown in `status`. */
  guardPathsMax: 20_000,
  guardPathsNamedMax: 10,
  /** Mount points below a root that are remembered. Of further ones it is not noticed when they vanish. */
  mountsMax: 1_000,
  /** A confirmed record is kept at least so long, and until the targets have what it covers. */
  guardConfirmedMs: 10_000,
  /** Large files waiting for their transfer; with more of them the mirror's scan waits. */
  transfersWaitingMax: 1_024,
  /** Questions to the target at a time; further ones wait. */
  questionsAtOnce: 256,
  /** Pause between two looks at the states of all lanes, and the same while nothing waits. A change is told at once. */
  tellMs: 1_000,
  tellAtRestMs: 5_000,
  /** Times that a failed op of one path is tried again at once; then the next change or verification scan does. */
  applyAttemptsMax: 3,
  /** Priority of `watch-source`, as in nice(1): where processors are short, the watched application goes first. */
  nice: 5,
  /** Pause between two saves of an index. What was acked since then is compared after a crash. */
  saveEveryMs: 1_000,
  /** Age of the oldest waiting change from which a lane is *catching-up*. */
  lagMs: 2_000,
  /** Tries to reach the target before a command that is not a daemon gives up after it was connected once. */
  reconnectAttemptsMax: 5,
  /** Problems kept for `status`; further ones are counted only. */
  problemsMax: 1_000,
  /** Differences that one verification lists; further ones are counted only. */
  differencesMax: 10_000,
  /** Directories, and entries in them, that verification takes in one step. A larger directory is a step by itself. */
  verifyDirectories: 16,
  verifyEntries: 2_048,
  /** Bytes of files whose digests are asked for at once, and such questions at a time. */
  digestBytes: 4 * MiB,
  digestQuestions: 4,
  /** Looks at a path that seems to differ and changes meanwhile; then it is left as restless. */
  verifyLooksMax: 5,
  /** Where changes may go unheard, what seems to differ is looked at again after this time. */
  unheardRestMs: 2_000,
  /** A verification that somebody waits for gives up when the target was away for so long. */
  verifyPatienceMs: 30_000,
  /** Time in which background verification compares all contents once, unless the user chooses another. */
  verifyEveryMs: 24 * 3_600_000,
  /** Bytes of contents that it compares in a second, unless the user chooses others; and what each file counts beside. */
  verifyRateBytes: 8 * MiB,
  patrolFileCostBytes: 64 * KiB,
  /** Pause between two background comparisons of the attributes of the source, and of both sides. */
  patrolSourceMs: 10 * 60_000,
  patrolBothMs: 3_600_000,
  /** Pause of the patrol while others work, and after which it takes a step though they still do, or looks again. */
  patrolPauseMs: 100,
  patrolRetryMs: 1_000,
  /** After a step the patrol rests so many times as long as that took. */
  patrolRestFactor: 4,
  /** How often the place where the patrol stands is saved. */
  patrolSaveMs: 10_000,
  /** Entries that nobody sent to the target and that the patrol removes there in one round; more of them stay. */
  extrasRemovedMax: 1_000,

  // ——— Replication set ———

  /** Directories whose verdict by the rules is remembered. Beyond it all are forgotten, and found out anew. */
  ruleVerdictsMax: 50_000,
  /** What is mounted below a root is read again when it is asked for after this time. */
  mountsReadMs: 1_000,
  /** Bytes of a file of rules. A larger one is refused. */
  ruleFileSizeMax: 512 * KiB,
  /** Leftovers named in `status`; further ones are counted only. */
  leftoversNamedMax: 100,
  /** Leftovers are counted anew for `status` not oftener than this. */
  leftoversCountMs: 500,
  /** Files remembered that will enter or leave the set by their age; those due later are found by a scan then. */
  agesWatchedMax: 20_000,
  /** Whether files became old enough is looked at this often: when the next one is due, within these bounds. */
  ageTickMinMs: 500,
  ageTickMs: 10_000,
  /** Pause between two scans for files that became old enough and were not remembered. */
  ageScanEveryMs: 10 * 60_000,

  /** Files with names outside the tree that are looked at in one such look; with more of them each has its turn later. */
  outsideLinksPolledMax: 10_000,

  // ——— Interceptors ———

  /** Pause between two looks at what cannot be heard of, and between two tries to watch it after all. */
  pollEveryMs: 5_000,
  /** After such a look, at least so many times its duration passes before the next: polling takes a tenth of the time. */
  pollRestFactor: 9,
  /** Directories looked at one by one in such a look; with more of them everything is scanned instead. */
  polledPathsMax: 1_000,
  /** Directories that are tried to be watched in a row. The others have their turn in the next round. */
  watchRetriesAtOnce: 256,
  /** Paths that `status` names of each gap; the others are counted. */
  gapPathsShown: 3,

  /** Hints delivered at once; more of them come in several deliveries. */
  hintBatchMax: 8_192,
  /** After a file was created, so long is waited for its contents. Other changes are told at once. */
  hintGatherMs: 1,
  /** Wait for the second half of a rename; then the first half counts as moved out of the tree. */
  renamePartnerMs: 5,
  /** A directory not found where it was heard of is tried again so long and so often; then the tree is armed anew. */
  misplacedMs: 1_000,
  misplacedTries: 20,
  /** Directories found elsewhere than told: the tree is audited after such a quiet time, at most so often. */
  auditQuietMs: 200,
  auditEveryMs: 3_000,
  /** A directory that lost its place in the tree stays watched so long, should a later event tell its new place. */
  limboMs: 50,
  /** Whether the root still stands at its path is looked at this often. */
  rootCheckMs: 2_000,
  /** A directory with an event this recently is looked below after its rename. At most twice as long in effect. */
  recentlyHeardMs: 30_000,
  /** Directories asked one by one whether they lie below a renamed one; with more of them it is always listed. */
  askedNodesMax: 4_096,
  /** `fanotify`: directories of which the path is known without asking; at most twice as many, then the oldest half goes. */
  knownHandlesMax: 32_768,
  /** `fanotify`: pause after events that were all outside of the tree, so that the next ones come together. */
  outsidePauseMs: 4,
  /** `fanotify`: places remembered as told of lately; with more of them every renamed directory is looked below. */
  toldPlacesMax: 4_096,
  /** `fanotify`: pause before a mounted part that could not be heard in any way, and is polled, is tried again. */
  partRetryMs: 30_000,
  /** `watchfs`: pauses after which a new directory is looked below again, since its watch comes late. */
  newDirectoryLooksMs: [300, 1_500],
  /** `watchfs`: what went is told so much later: the old name of a rename comes first, as a removal. */
  watchfsDepartureMs: 50,
  /** `watchfs`: more events than this within the window are answered by one look at everything. */
  stormEvents: 1_000,
  stormWindowMs: 50,
  /** `watchfs`: pause between two looks at everything, and the same while it cannot hear at all. */
  watchfsVerifyMs: 10_000,
  deafScanMs: 2_000,
  /** `watchfs`: so many times as long as a look at everything takes it rests after it. */
  watchfsRestFactor: 200,
  /** `watchfs`: pause between two probes of whether it still hears, and the time each has to be heard. */
  watchfsProbeMs: 2_000,
  /** `watchfs`: failures in a row; then it no longer listens. */
  watchfsFailuresMax: 100,

  // ——— Target ———

  /** Paths of one `digest` question; with more of them it closes the session. */
  digestPathsMax: 512,
  /** Ops and bytes made durable together. */
  groupOps: 2_048,
  groupBytes: 4 * MiB,
  /** Staged files synced one by one; for more of them the whole file system is synced. */
  syncOneByOneMax: 8,
  /** Bytes kept free on the target's disk, so that the catalog can say what became live. Below it nothing is staged. */
  freeBytesMin: MiB,
  /** Pause before a full disk is tried again. */
  blockedRetryMs: 1_000,
  /** Pauses between looks whether files that ops wait for are in use still: the first one, and the longest. */
  inUseRetryMinMs: 50,
  /** A file that is merely open is looked at so often, so far apart, before ops on it wait: many only read it quickly. */
  inUseLooks: 5,
  inUseLookMs: 1,
  inUseRetryMs: 1_000,
  /** Paths that a source waits for because of files in use. Further ones are problems, and left to the next scan. */
  awaitedPathsMax: 10_000,
  /** Files in use that `status` names; the others are counted. */
  openFilesShown: 20,
  /** Entries below a renamed directory that are asked for whether they are in use. Further ones count as free. */
  openFilesLookedAtMax: 100_000,
  /** Touched paths kept for a source that has not yet saved its index; beyond it the source compares everything. */
  touchedPathsMax: 500_000,
  /** Failures kept until the source's index is saved; beyond it the source compares everything. */
  failuresKeptMax: 1_000,
  /** Transfers open at once in one stream. A further `open` fails. */
  openTransfersMax: 64,
  /** Bytes of one message of a listing, of touched paths or of failures. */
  answerChunkSize: 200 * KiB,
  /** Bytes of all accounts in one message; what is more does not travel and is counted. */
  accountsSizeMax: 900 * KiB,
  /** Owners without a name that are told of. */
  unknownOwnersMax: 1_000,
  /** A source's account files are looked at this often. */
  accountsCheckMs: 1_000,
  /** New owners that are told of before what they own is sent; later ones are told of at the next look. */
  accountsAtOnceMax: 64,
  /** Questions (`list`, `sign`) of one session that wait for their answer. A further one closes the session. */
  questionsMax: 1_024,
  /** Bytes of messages given to the applying Worker and not yet applied; more wait in front of it. */
  applyInboxBytes: 16 * MiB,
  /** Bytes of answers on their way out of it; more are not yet computed. */
  applyOutboxBytes: 4 * MiB,
  /** Bytes of one of the two buffers of an export; whole records of a tape. With both full it waits for its reader. */
  exportBufferSize: 100 * 10_240,
  /** Pause between two tries to hold a replica while a server starts or stops, or another export recovers it. */
  holdRetryMs: 50,

  // ——— Process ———

  /** Growth of a daemon after which garbage is collected. */
  memorySlackBytes: 8 * MiB,
  /** Pause between two looks at the memory while it grows, and the longest while it does not. */
  memoryCheckMs: 100,
  memoryCheckIdleMs: 1_600,

  // ——— Control ———

  /** Bytes of one control request. A longer one is refused. */
  controlRequestSizeMax: MiB,
  /** Bytes of one control answer that is taken. */
  controlAnswerSizeMax: 64 * MiB,
  /** Control connections at the same time; a further one is refused. */
  controlConnectionsMax: 64,
} as const;

assert(
  limits.opDataSizeMax + 2 * limits.pathSizeMax + limits.xattrsSizeMax < limits.messageSizeMax,
  "one op fits one message",
);
assert(
  limits.accountsSizeMax + 24 * limits.unknownOwnersMax + 4 * KiB < limits.messageSizeMax,
  "all accounts that travel fit one message",
);
assert(limits.mergePacketSize <= limits.opDataSizeMax, "bytes between two writes fit the op that they go in");
assert(limits.messageSizeMax <= limits.frameBodySizeMax, "one message fits one frame");
assert(limits.mirrorWindowBytes < limits.windowBytes, "live ops find room beside mirror ops");
assert(limits.groupBytes <= limits.windowBytes, "a group can be filled from one window");
assert(
  limits.answerChunkSize + limits.pathSizeMax * 4 < limits.messageSizeMax,
  "one answer fits one message",
);
assert(2 * limits.ruleFileSizeMax <= limits.controlRequestSizeMax, "a file of rules fits one request");
assert(limits.questionsAtOnce <= limits.questionsMax, "no question closes the session");
assert(limits.digestBytes <= limits.signatureRangeSize, "digests can be asked for");
assert(limits.pingAfterMs * 2 < limits.deadAfterMs, "a dead peer had its chance to answer");
