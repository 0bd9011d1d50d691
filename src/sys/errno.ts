/**
 * Names and words for errno numbers, and the one way to make a {@linkcode SystemError}.
 * @module
 */
import { SystemError } from "../base/errors.ts";
import { quote } from "../base/path.ts";

/** Linux numbers (the same on x86-64 and arm64) in order from 1; `-` is a number nobody uses. */
const names = `
EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST EXDEV
ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK
ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP - ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT
EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT - EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG EREMOTE ENOLINK EADV
ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG ELIBACC ELIBBAD ELIBSCN ELIBMAX
ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT
ESOCKTNOSUPPORT ENOTSUP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET
ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT ECONNREFUSED EHOSTDOWN
EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE
ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON
`.trim().split(/\s+/);

/** What the common codes mean, for people. */
const words: Record<string, string> = {
  EACCES: "permission denied",
  EAGAIN: "not now",
  EBADF: "it is closed",
  EBUSY: "in use",
  EDQUOT: "quota exceeded",
  EEXIST: "it exists",
  EFBIG: "too large",
  EILSEQ: "the name is not Unicode",
  EINVAL: "not possible for this kind of entry",
  EIO: "input/output error",
  EISDIR: "it is a directory",
  ELOOP: "a symbolic link is in the way",
  EMFILE: "too many open files",
  EMLINK: "too many links",
  ENAMETOOLONG: "the name is too long",
  ENFILE: "too many open files in the system",
  ENOENT: "it does not exist",
  ENOMEM: "out of memory",
  ENOSPC: "no space left",
  ENOSYS: "this system cannot do it",
  ENOTDIR: "not a directory",
  ENOTEMPTY: "the directory is not empty",
  ENOTSUP: "not supported here",
  EPERM: "not permitted",
  EROFS: "read-only file system",
  ETXTBSY: "the program is running",
  EXDEV: "another file system is in the way",
};

/** Name of a Linux errno number, `E<number>` if it has none. */
export function errnoName(errno: number): string {
  const name = names[errno - 1];
  return name === undefined || name === "-" ? `E${errno}` : name;
}

/**
 * Makes the error for a failed call.
 *
 * @param code Errno's name.
 * @param verb What was tried, as in "Cannot <verb> …".
 * @param path What it was tried on.
 * @param to Where it was to go.
 */
export function systemError(code: string, verb: string, path: string, to?: string): SystemError {
  const what = to === undefined ? quote(path) : `${quote(path)} to ${quote(to)}`;
  const reason = words[code];
  return new SystemError(code, `Cannot ${verb} ${what}: ${reason ? `${reason} (${code})` : code}`);
}
